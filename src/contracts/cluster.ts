import type { ServiceIdentifier } from 'inversify';
import type { CloseReason } from './connection.js';
import type { Cursor, Frame, Gap, LocalResult, Position, SendResult } from './events.js';

/** What a node tells the cluster about a connection that opens. */
export interface Registration {
  readonly connectionId: string;
  /** Names the connection object within its node; a retry carries the same token. */
  readonly token: string;
  /** What to do when the id has a live owner. */
  readonly onDuplicate: 'takeover' | 'reject';
}

/** Answer to a registration. Only `registered` changes anything. */
export type RegistrationResult =
  /** This node owns the id now. A former owner is told `onSuperseded`, this node included. */
  | { readonly outcome: 'registered'; readonly fencingToken: number }
  /** `reject` was asked for and `nodeId` owns the id. */
  | { readonly outcome: 'exists'; readonly nodeId: string }
  /** The id was taken over too often within the window; its owner keeps it. */
  | { readonly outcome: 'storm' };

/** Which node owns a connection id. */
export interface Route {
  readonly connectionId: string;
  readonly nodeId: string;
  readonly fencingToken: number;
}

/** One live node. */
export interface NodeInfo {
  readonly nodeId: string;
  /** Connections it has registered. */
  readonly connections: number;
  /** Whether it is the node that was asked. */
  readonly self: boolean;
}

/** Who is subscribed to a topic. */
export interface Presence {
  readonly connections: readonly { readonly connectionId: string; readonly nodeId: string }[];
  /** Nodes that did not answer in time; empty when the answer is complete. */
  readonly missing: readonly string[];
}

/** An event for one connection. */
export interface Message {
  readonly connectionId: string;
  /** Identifies the message; the owner delivers one id to one connection once. */
  readonly messageId: string;
  readonly frame: Frame;
  /** `owner`: wait for the owner's answer. `none`: hand it over and forget it. */
  readonly ack: 'owner' | 'none';
  /** Milliseconds to wait for the owner's answer. */
  readonly deadline: number;
  /** See {@link ClusterCoordinator}. */
  readonly trace?: string;
}

/** How many entries of a topic the log keeps at least, and for how long. */
export interface Retention {
  readonly maxEntries: number;
  /** Milliseconds. */
  readonly ttl: number;
  /** The whole topic lives `ttl` from its last entry on, instead of each entry from its own time on. */
  readonly whole?: true;
}

/** An event for the subscribers of a topic, or for everyone. */
export interface Publication {
  /** `undefined` addresses every connection. */
  readonly topic: string | undefined;
  /** Event-stream text without an id line; the coordinator adds the id. */
  readonly body: Buffer;
  /** False: not kept, no id, at most once. */
  readonly retention: Retention | false;
  /** Publishing the same key again within a minute changes nothing and returns the first result. */
  readonly idempotencyKey?: string;
  /** See {@link ClusterCoordinator}. */
  readonly trace?: string;
}

/** Answer to a publication. */
export interface PublicationResult {
  /** Its place in the log; absent when it is not kept. */
  readonly cursor?: Cursor;
  /** Nodes with a live lease, this one included. */
  readonly nodes: number;
}

/** A question to the log. */
export interface ReplayRequest {
  /** The topics; broadcasts are included. */
  readonly topics: readonly string[];
  /** Where the client stands; without it only the head is wanted. */
  readonly after?: Cursor;
  /** False: without broadcasts. */
  readonly broadcasts?: false;
  /** Most entries to return in this page. */
  readonly limit: number;
}

/** One page of the log, in order. */
export interface ReplayPage {
  /** The newest entry of the log when the page was read. */
  readonly head: Cursor;
  /** Complete up to and including here; older than `head` when there is more. */
  readonly completeTo: Position;
  /** Set when entries between `after` and the first frame are missing. */
  readonly gap?: Gap;
  readonly frames: readonly Frame[];
}

/** Whether the cluster can be reached. */
export interface CoordinatorStatus {
  readonly reachable: boolean;
  /** What is wrong, for people. */
  readonly detail?: string;
  /** What is wrong, for programs, where it is known: no lease, no subscriptions, or no room for writes. */
  readonly trouble?: 'lease' | 'feed' | 'memory';
}

/**
 * How the nodes act as one system: who owns which connection id, how events reach other nodes, and the ordered log.
 *
 * **Ownership.** At most one registration of an id is live in the cluster. Registrations of one id are ordered by their
 * `fencingToken`. Only the registration with the same token is removed by `unregister`, so that late calls of a former owner
 * change nothing. Every call may be repeated with the same arguments without further effect.
 *
 * **Messages.** `send` reaches the owner at least once when it answers `delivered` or `buffered`, and the owner delivers
 * one message id once. Order is kept per sending node and connection.
 *
 * **Publications** with retention are totally ordered by their cursor, delivered to each node in that order, each once.
 * Those without retention are delivered at most once. A node gets a topic's publications after `listen` has resolved.
 *
 * **Trace.** A message or publication may carry a `trace`: text of the telemetry layer, which is handed to the listener of
 * the receiving node as it is, unread. Text that is not 1 to 1,024 printable ASCII characters is dropped, never an error.
 * What is replayed carries none.
 *
 * **Failure.** Every method rejects with SseError `UNAVAILABLE` while the cluster cannot be reached, except `send`, which
 * answers `unavailable` or `unknown`, `unlisten`, `status` and `close`. After `close` every method but `close` and
 * `status` rejects with `CLOSED`.
 */
export interface ClusterCoordinator {
  /** Name for logs and the demo's first line: `local`, `redis`. */
  readonly kind: string;
  /** Joins the cluster. Must resolve before any other call; calling it again changes nothing. */
  start(listener: ClusterListener): Promise<void>;
  /** Leaves the cluster: releases its routes and its lease. Twice is harmless. */
  close(): Promise<void>;
  status(): CoordinatorStatus;

  register(registration: Registration): Promise<RegistrationResult>;
  /** Removes the route if it still carries this token. Returns whether it did. */
  unregister(connectionId: string, token: string): Promise<boolean>;
  /** Removes every route of this node at once, so that senders learn before the sockets close. */
  releaseRoutes(): Promise<void>;
  locate(connectionId: string): Promise<Route | undefined>;
  /** Exact number of live routes. */
  count(): Promise<number>;
  /** Live nodes, sorted by id. */
  nodes(): Promise<readonly NodeInfo[]>;

  send(message: Message): Promise<SendResult>;
  publish(publication: Publication): Promise<PublicationResult>;
  /** Starts the node's feed of these topics. Calls are counted per topic. */
  listen(topics: Iterable<string>): Promise<void>;
  /** Takes back one `listen` of each topic. */
  unlisten(topics: Iterable<string>): void;
  replay(request: ReplayRequest): Promise<ReplayPage>;
  /**
   * Up to where this node's listener was given everything of the log that it listens to; `undefined` while that is not
   * known.
   */
  position(): Cursor | undefined;
  /**
   * Asks the owner of a connection whether it has given it everything of the log up to a place; it may wait for that for a
   * moment. `undefined`: it has not, or nobody has the connection.
   */
  confirm(connectionId: string, position: Position): Promise<SendResult | undefined>;

  /**
   * Takes, or keeps, what one holder at a time has for `ms` milliseconds from now on; with 0 it only asks. Resolves to who has
   * it now, `undefined`: nobody.
   */
  claim(name: string, holder: string, ms: number): Promise<string | undefined>;

  /** What this coordinator can leave behind. */
  leakProbes(): readonly LeakProbe[];

  /**
   * Compares what this node has with what the cluster knows, and repairs what differs as far as asked. No repair harms a
   * live connection: a route is restored only where no live owner is, and removed only as it was seen. Trouble in the
   * middle of it is no rejection but makes the report `unknown`.
   */
  check(request: ConsistencyRequest): Promise<ConsistencyReport>;

  /** Closes the connection at its owner, this node included. Returns whether one was closed. */
  closeConnection(connectionId: string, reason: CloseReason): Promise<boolean>;
  /** Closes all connections of all nodes. */
  closeAllConnections(reason: CloseReason): Promise<void>;
  /** Subscribes a connection at its owner. Returns whether it is connected. */
  subscribe(connectionId: string, topic: string): Promise<boolean>;
  /** Unsubscribes a connection at its owner. Returns whether it is connected. */
  unsubscribe(connectionId: string, topic: string): Promise<boolean>;
  presence(topic: string): Promise<Presence>;
}

export const ClusterCoordinator: ServiceIdentifier<ClusterCoordinator> = Symbol.for(
  'distributed-sse/ClusterCoordinator',
);

/** A registered connection of this node. */
export interface Registered {
  readonly connectionId: string;
  readonly token: string;
}

/**
 * The way back: what the cluster asks of this node. A coordinator calls it from `start` until `close` has resolved; all
 * deliveries are synchronous, so the order of calls is the order of delivery. None throws.
 */
export interface ClusterListener {
  /**
   * An event for one connection. A message id that this connection had already gets its first answer again.
   * @param trace as the sender gave it
   */
  onMessage(
    connectionId: string,
    token: string,
    messageId: string,
    frame: Frame,
    trace?: string,
  ): LocalResult;
  /**
   * An event for the subscribers of a topic, or, without a topic, for everyone.
   * @param trace as the publisher gave it; absent for what is caught up from the log
   */
  onPublication(topic: string | undefined, frame: Frame, trace?: string): void;
  /**
   * What comes next does not follow what came last: tell whom it concerns. `EPOCH` and `AHEAD` concern all topics and mean
   * another log, in which the stream goes on at `resumedFrom`.
   */
  onGap(gap: Gap): void;
  /** Another registration took the id over; close the connection with this token. */
  onSuperseded(connectionId: string, token: string): void;
  /** Another node repaired something, which may concern this one: look soon whether all is well here. */
  onSync(): void;
  /** Close the connection. Returns whether one was open. */
  onClose(connectionId: string, reason: CloseReason): boolean;
  /** Close every connection of this node. */
  onCloseAll(reason: CloseReason): void;
  /**
   * Subscribe or unsubscribe the connection. Resolves to whether it is here, once the topic's feed runs, so that nothing
   * published afterwards is missed.
   */
  onSubscribe(connectionId: string, topic: string): Promise<boolean>;
  onUnsubscribe(connectionId: string, topic: string): boolean;
  /**
   * Whether a connection of this node was given everything of the log up to a place. Waits for it, about a second at most;
   * `undefined`: not yet, or it is not here.
   */
  onConfirm(
    connectionId: string,
    position: Position,
  ): Promise<'delivered' | 'buffered' | undefined>;
  /** The connections of this node that are subscribed to the topic. */
  onPresence(topic: string): readonly string[];
  /** Whether a connection of this node is subscribed to the topic, be it still opening. */
  follows(topic: string): boolean;
  /** The connections of this node that the cluster should know. */
  registered(): Iterable<Registered>;
  /** Whether this node has a connection with that id and token, be it still opening. */
  holds(connectionId: string, token: string): boolean;
}

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

/** Looks for things of one kind that nobody owns any more. */
export interface LeakProbe<T = unknown> {
  /** Name for logs and metrics. */
  readonly kind: string;
  /** What looks like a leak now; it is one if it still does at the next look. The same leak is the same value. */
  suspects(): readonly T[];
  /** Lets go of one of its suspects. */
  release(leak: T): void;
}
