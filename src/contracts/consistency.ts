/**
 * How the cluster's knowledge of a connection can be wrong.
 *
 * - `missing-route`: a connection without a route. Repaired by registering it again, unless somebody else has its id.
 * - `foreign-route`: a connection whose id somebody else owns. Repaired by closing it as superseded.
 * - `wrong-token`: a connection whose route names an earlier one of the same id. Repaired by writing its own.
 * - `ghost`: a route of this node without a connection. Removed, if it still carries the token that was seen.
 * - `orphan`: a route that ran out, or of a lease that is gone. Removed.
 * - `index`: routes and their index name different connections or owners. The index is put right.
 * - `dead-lease`: the lease of a node that died was not removed. Removed with its routes.
 */
export type InconsistencyKind =
  'missing-route' | 'foreign-route' | 'wrong-token' | 'ghost' | 'orphan' | 'index' | 'dead-lease';

/** One difference that was found. */
export interface Inconsistency {
  readonly kind: InconsistencyKind;
  /** The connection it is about; absent for a `dead-lease`. */
  readonly connectionId?: string;
  /** The node that died, of a `dead-lease`. */
  readonly nodeId?: string;
  /** False: it was only found, or it was gone before it could be repaired. */
  readonly repaired: boolean;
}

/** Told of each difference that was found, once per check. What it throws is logged. */
export type InconsistencyListener = (inconsistency: Inconsistency) => void;

/** What to compare, and what to do about it. */
export interface ConsistencyRequest {
  /**
   * `node`: the connections and routes of this node; how many there are each time, and which they are a part at a time,
   * all of them at the first sign of a difference. `cluster`: some routes, whoever owns them, and the leases.
   */
  readonly scope: 'node' | 'cluster';
  /** Most differences to repair; what is found beyond that stays for the next check. 0 repairs nothing. */
  readonly maxRepairs: number;
  /** Milliseconds a difference of scope `node` must last to be one: comings and goings are seen half done. */
  readonly settle: number;
  /** Most routes that scope `cluster` looks at, about. */
  readonly sample: number;
  /** Whether the other nodes are told when something was repaired; their listeners get `onSync`. */
  readonly tell: boolean;
}

/** What a check compared, found and repaired. */
export interface ConsistencyReport {
  /** Connections and routes that were looked at. */
  readonly checked: number;
  /** How many differences there were, by their kind. */
  readonly found: Readonly<Partial<Record<InconsistencyKind, number>>>;
  /** How many of them were repaired, by their kind. */
  readonly repairs: Readonly<Partial<Record<InconsistencyKind, number>>>;
  /** The differences one by one, the first 1,000 of them. */
  readonly findings: readonly Inconsistency[];
  /** Milliseconds it took. */
  readonly ms: number;
  /**
   * Why nothing is known: the cluster failed, or this node lost its place in it meanwhile. Then only what was repaired counts
   * as found.
   */
  readonly unknown?: string;
}

/** What the checks say about this node. */
export interface Consistency {
  /** Under `fail_fast`, what was found and makes the node unready; `undefined` when all is well, or nothing is known. */
  readonly trouble: string | undefined;
  /** Something happened that may concern this node: it is checked before long, out of turn. */
  checkSoon(): void;
}
