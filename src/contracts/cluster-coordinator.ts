import type { ServiceIdentifier } from 'inversify';
import type { CloseReason } from './close-reason.js';
import type { ClusterListener } from './cluster-listener.js';
import type { ConsistencyReport, ConsistencyRequest } from './consistency.js';
import type { Cursor, Frame, Position } from './frame.js';
import type { ResetReason } from './hole.js';
import type { LeakProbe } from './leak-probe.js';
import type { SendResult } from './receipt.js';

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
  | { readonly outcome: 'registered'; readonly fence: number }
  /** `reject` was asked for and `nodeId` owns the id. */
  | { readonly outcome: 'exists'; readonly nodeId: string }
  /** The id was taken over too often within the window; its owner keeps it. */
  | { readonly outcome: 'storm' };

/** Which node owns a connection id. */
export interface Route {
  readonly connectionId: string;
  readonly nodeId: string;
  readonly fence: number;
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
  /** Where the client stands; without it only the tip is wanted. */
  readonly after?: Cursor;
  /** False: without broadcasts. */
  readonly broadcasts?: false;
  /** Most entries to return in this page. */
  readonly limit: number;
}

/** One page of the log, in order. */
export interface ReplayPage {
  /** The newest entry of the log when the page was read. */
  readonly tip: Cursor;
  /** Complete up to and including here; older than `tip` when there is more. */
  readonly upto: Position;
  /** Set when entries between `after` and the first frame are missing. */
  readonly reset?: { readonly reason: ResetReason; readonly topics: readonly string[] };
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
 * `fence`. Only the registration with the same token is removed by `unregister`, so that late calls of a former owner
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
