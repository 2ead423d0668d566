import type { Partition } from '../keys.js';
import { defineScript } from './definition.js';

interface ResolveRequest {
  readonly partition: Partition;
  /** At most 500. */
  readonly conns: readonly string[];
}

/** A route as Redis knows it. */
export interface ResolvedRoute {
  /** Whether the route and its owner's lease hold. */
  readonly live: boolean;
  /** '' when the owner's lease is gone. */
  readonly inc: string;
  readonly tok: string;
  readonly fencingToken: number;
}

/** `LIMIT`: more than 500 connections; nothing was read. */
type ResolveReply =
  | {
      readonly status: 'OK';
      /** One per connection, in their order; `undefined` without a route. */
      readonly routes: readonly (ResolvedRoute | undefined)[];
    }
  | { readonly status: 'LIMIT' };

/** Says who owns connection ids. Changes nothing. */
export const resolveScript = defineScript({
  name: 'resolve',
  keys: ['leases', 'routes'],
  args: [],
  restArgs: ['conn'],
  statuses: ['OK', 'LIMIT'],
  keyValues: ({ partition }: ResolveRequest) => partition,
  argValues: () => ({}),
  restArgValues: ({ conns }) => [...conns],
  read: (status, reply): ResolveReply => {
    if (status === 'LIMIT') return { status };
    const routes = reply.groups(1, 4, at =>
      reply.text(at + 2) === ''
        ? undefined
        : {
            live: reply.integer(at) === 1,
            inc: reply.text(at + 1),
            tok: reply.text(at + 2),
            fencingToken: reply.integer(at + 3),
          },
    );
    return { status, routes };
  },
});
