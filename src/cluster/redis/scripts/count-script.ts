import type { Partition } from '../keys.js';
import { defineScript } from './definition.js';

interface CountRequest {
  readonly partition: Partition;
}

export interface CountReply {
  readonly status: 'OK';
  /** Routes of live leases. */
  readonly live: number;
  /** Routes of all leases. */
  readonly total: number;
  /** Each live lease of the partition; a node has at most one. */
  readonly nodes: readonly { readonly inc: string; readonly routes: number }[];
}

/** Counts the routes of live leases; exact, in one partition. Changes nothing. */
export const countScript = defineScript({
  name: 'count',
  keys: ['leases', 'index'],
  args: [],
  statuses: ['OK'],
  keyValues: ({ partition }: CountRequest) => partition,
  argValues: () => ({}),
  read: (status, reply): CountReply => ({
    status,
    live: reply.integer(1),
    total: reply.integer(2),
    nodes: reply.groups(3, 2, at => ({ inc: reply.text(at), routes: reply.integer(at + 1) })),
  }),
});
