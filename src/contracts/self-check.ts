/**
 * How a coordinator compares what a node has with what the cluster knows, and repairs what differs; and how it finds what
 * it has left behind in memory.
 *
 * Optional: a coordinator that cannot drift from the truth has no `selfCheck`, and the node runs none of the background
 * work that needs one.
 *
 * **Who calls.** The node's background work, one call at a time. Applications may call `reconcile` at any time.
 *
 * **Safety.** No repair harms a live connection: a route is written only where no live owner is, and removed only while it
 * is as it was seen.
 */
export interface SelfCheck {
  /**
   * Compares, and repairs as far as asked. A failure of the cluster in the middle is no rejection: the report says
   * `unknown`.
   * @throws SseError `UNAVAILABLE` when the cluster cannot be reached at the beginning, `CLOSED`
   */
  reconcile(request: ReconcileRequest): Promise<ReconcileReport>;
  /** What this coordinator can leave behind in this process. May be called before `start`. */
  leakProbes(): readonly LeakProbe[];
}

/** What to compare, and what to do about it. */
export interface ReconcileRequest {
  /**
   * `node`: the connections and routes of this node; their number each time, and a part of them one by one, all of them
   * at the first sign of a difference. `cluster`: some routes of all nodes, and the nodes' proofs of life.
   */
  readonly scope: 'node' | 'cluster';
  /** Most differences to repair; those found beyond that stay for the next time. 0 repairs nothing. */
  readonly maxRepairs: number;
  /** Milliseconds that a difference of scope `node` must last: openings and releases are seen half done. */
  readonly settle: number;
  /** About how many routes scope `cluster` compares. */
  readonly sample: number;
  /** Whether the other nodes are notified of a repair; their listeners get `onSync`. */
  readonly notify: boolean;
}

/** What was compared, found and repaired. */
export interface ReconcileReport {
  /** Connections and routes that were compared. */
  readonly checked: number;
  /** How many differences there were, by kind. */
  readonly found: Readonly<Record<string, number>>;
  /** How many of them were repaired, by kind. */
  readonly repairs: Readonly<Record<string, number>>;
  /** The differences one by one, the first 1,000 of them. */
  readonly findings: readonly Inconsistency[];
  /** Milliseconds it took. */
  readonly ms: number;
  /**
   * Why nothing is known: the cluster failed meanwhile, or this node lost its place in it. Then `found` has only what was
   * repaired.
   */
  readonly unknown?: string;
}

/** One difference between a node and the cluster. */
export interface Inconsistency {
  /** A name of the implementation, documented by it; low in number, since it becomes a label of metrics. */
  readonly kind: string;
  /** The connection with the difference; absent where it concerns a node. */
  readonly connectionId?: string;
  /** The node with the difference; absent where it concerns a connection. */
  readonly nodeId?: string;
  /** False: it was only found, or it was gone before it could be repaired. */
  readonly repaired: boolean;
}

/** Is called once per difference that was found. What it throws is logged. */
export type InconsistencyListener = (inconsistency: Inconsistency) => void;

/** Looks for things of one kind that are in memory without an owner. */
export interface LeakProbe<T = unknown> {
  /** Name for logs and metrics. */
  readonly kind: string;
  /** What looks like a leak now. It is one if the next look shows the same value again. */
  suspects(): readonly T[];
  /** Releases one of its suspects. */
  release(leak: T): void;
}
