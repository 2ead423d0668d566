import type { Partition, PublishCommand } from '../keys.js';
import { defineScript } from './definition.js';

interface SendRequest {
  readonly partition: Partition;
  readonly conn: string;
  readonly pubCommand: PublishCommand;
  /** The owner gets it behind its token and a blank. */
  readonly payload: Buffer;
}

/** `ROUTED`: published to a live owner. `EXPIRED`, `DEAD`: the route or its owner's lease ran out. `NONE`: no route. */
export type SendReply =
  | {
      readonly status: 'ROUTED';
      readonly inc: string;
      readonly tok: string;
      readonly fencingToken: number;
      /**
       * Subscribers that got it; 0 means that the owner's subscriber is down. In a Redis Cluster with classic Pub/Sub
       * it counts one master's subscribers only and means nothing.
       */
      readonly receivers: number;
    }
  | {
      readonly status: 'EXPIRED' | 'DEAD';
      /** '' when the lease is gone. */
      readonly inc: string;
      readonly tok: string;
      readonly fencingToken: number;
    }
  | { readonly status: 'NONE' };

/** Hands a message to the owner of a connection id. Repeating it publishes again: the owner must know the message id. */
export const sendScript = defineScript({
  name: 'send',
  keys: ['leases', 'routes'],
  args: ['conn', 'pubCommand', 'channelPrefix', 'payload'],
  statuses: ['ROUTED', 'EXPIRED', 'DEAD', 'NONE'],
  keyValues: ({ partition }: SendRequest) => partition,
  argValues: ({ partition: { channelPrefix }, ...request }) => ({ ...request, channelPrefix }),
  read: (status, reply): SendReply => {
    if (status === 'NONE') return { status };
    const route = { inc: reply.text(1), tok: reply.text(2), fencingToken: reply.integer(3) };
    return status === 'ROUTED'
      ? { status, ...route, receivers: reply.integer(4) }
      : { status, ...route };
  },
});
