import type { Partition, PublishCommand } from '../keys.js';
import { defineScript } from './definition.js';

export interface RegisterRequest {
  readonly partition: Partition;
  /** `keys.tombstone` of this registration. */
  readonly tombstone: string;
  readonly inc: string;
  /** Generation of the node's lease in the partition. */
  readonly gen: string;
  readonly conn: string;
  /** Names the connection within its node; no `|`, `,`, `/` or blank. */
  readonly tok: string;
  /** With a live owner: `take` supersedes it, `nx` refuses, `restore` (after a lost lease) never supersedes. */
  readonly mode: 'take' | 'nx' | 'restore';
  /** Milliseconds the route lives. */
  readonly ttlMs: number;
  readonly leaseMs: number;
  readonly keyMs: number;
  /** Takeovers of one id that succeed within the window; above 500 counts as 500. */
  readonly takeoverLimit: number;
  /** Milliseconds. */
  readonly takeoverWindow: number;
  readonly pubCommand: PublishCommand;
}

const ANSWERS = ['NEW', 'TOOK', 'DUP', 'STALE', 'EXISTS', 'MOVED', 'STORM'] as const;

/**
 * `NEW`, `TOOK`, `DUP`: owner now, or still; a former live owner was told. The others changed nothing: `STALE` superseded
 * since an earlier attempt, `EXISTS` and `MOVED` owned by the node that is named, `STORM` taken over too often, `GONE`
 * given up before, `LOST` the lease is gone: open one and repeat.
 */
export type RegisterReply =
  | {
      readonly status: (typeof ANSWERS)[number];
      /** Of this registration; of the present owner when it was refused. */
      readonly fencingToken: number;
      /** The former owner, or the present one when it was refused; '' when there is none. */
      readonly ownerInc: string;
      readonly ownerTok: string;
      readonly now: number;
    }
  | { readonly status: 'GONE' | 'LOST' };

/** Makes a node the owner of a connection id. Repeating it with the same token is harmless. */
export const registerScript = defineScript({
  name: 'register',
  keys: ['leases', 'routes', 'index', 'tombstone'],
  args: [
    'inc',
    'gen',
    'conn',
    'tok',
    'mode',
    'ttlMs',
    'leaseMs',
    'keyMs',
    'takeoverLimit',
    'takeoverWindow',
    'pubCommand',
    'channelPrefix',
  ],
  statuses: [...ANSWERS, 'GONE', 'LOST'],
  keyValues: ({ partition, tombstone }: RegisterRequest) => ({ ...partition, tombstone }),
  argValues: ({ partition: { channelPrefix }, ...request }) => ({ ...request, channelPrefix }),
  read: (status, reply): RegisterReply => {
    if (status === 'GONE' || status === 'LOST') return { status };
    return {
      status,
      fencingToken: reply.integer(1),
      ownerInc: reply.text(2),
      ownerTok: reply.text(3),
      now: reply.integer(4),
    };
  },
});
