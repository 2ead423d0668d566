import type { Partition } from '../keys.js';
import { defineScript } from './definition.js';

interface ValidateRequest {
  readonly partition: Partition;
  /** Routes to look at; at most 500. */
  readonly count: number;
  /** Most differences to put right; 0 only looks. */
  readonly mends: number;
  /** Milliseconds that a lease must have been over to be dead. */
  readonly graceMs: number;
}

/** What can be wrong. `half-lease`: a node's name for a lease that is gone. */
type Invalidity = 'orphan' | 'index' | 'half-lease' | 'dead-lease';

const KINDS: readonly Invalidity[] = ['orphan', 'index', 'half-lease', 'dead-lease'];

interface ValidateReply {
  readonly checked: number;
  readonly differences: readonly {
    readonly kind: Invalidity;
    /** A connection id; an incarnation where it is about a lease. */
    readonly name: string;
    /** False: it was only found. A dead lease is left to `reap`. */
    readonly mended: boolean;
  }[];
}

/** Looks at routes of all nodes, chosen at random, and puts right what nobody answers for. Repeating it is harmless. */
export const validateScript = defineScript({
  name: 'validate',
  keys: ['leases', 'routes', 'index'],
  args: ['count', 'mends', 'graceMs'],
  statuses: ['OK'],
  keyValues: ({ partition }: ValidateRequest) => partition,
  argValues: request => request,
  read: (_status, reply): ValidateReply => ({
    checked: reply.integer(1),
    differences: reply.groups(2, 3, at => ({
      kind: KINDS.find(kind => kind === reply.text(at)) ?? 'index',
      name: reply.text(at + 1),
      mended: reply.integer(at + 2) === 1,
    })),
  }),
});
