import type { ServiceIdentifier } from 'inversify';
import type { RegistrationLimits, Revocation } from './authorization.js';
import type { CloseReason } from './connection.js';
import type {
  CloseReceipt,
  CommandReceipt,
  ConfirmationReport,
  Cursor,
  Frame,
  Gap,
  Position,
  SendResult,
} from './events.js';
import type { ClusterListener } from './listener.js';
import type { SelfCheck } from './self-check.js';

/** A connection that opens, as its node registers it. */
export interface Registration extends RegistrationLimits {
  readonly connectionId: string;
  /** Names the connection object within its node; a retry carries the same token. */
  readonly token: string;
  /** What to do when the id has a live owner. */
  readonly onDuplicate: 'takeover' | 'reject';
  /** Who the connection belongs to, given by the application. Stored with the route. */
  readonly user?: string | undefined;
  /**
   * Given when the connection opened without the cluster: the time by `performance.now()`. Only a registration that was made
   * before is superseded then, whatever `onDuplicate` says, and it counts as no takeover.
   */
  readonly openedAt?: number | undefined;
  /** The client brought no last id, so that its takeover is counted apart: 19 within `connection.takeoverWindow` succeed. */
  readonly pageLoad?: boolean;
  /** The trace of its opening, for a former owner. */
  readonly trace?: string | undefined;
}

/** Answer to a registration. Only `registered` changes anything. */
export type RegistrationResult =
  /** This node owns the id now. A former owner gets `onSuperseded`, on this node as well. */
  | { readonly outcome: 'registered'; readonly fencingToken: number }
  /** `reject` was asked for and `nodeId` owns the id; or `openedAt` was given and its registration is newer. */
  | { readonly outcome: 'exists'; readonly nodeId: string }
  /** The id was taken over too often within the window from nodes that hear of it; its owner keeps it. */
  | { readonly outcome: 'storm' }
  /** There are as many connections of that name as it may have; without a name: in the cluster. */
  | { readonly outcome: 'full'; readonly name?: string }
  /** There were as many registrations of that name within a minute as it may have. */
  | { readonly outcome: 'rate-limited'; readonly name: string };

/** Which node owns a connection id. */
export interface Route {
  readonly connectionId: string;
  readonly nodeId: string;
  readonly fencingToken: number;
  /** As registered. */
  readonly user?: string | undefined;
}

/** One live node. */
export interface NodeInfo {
  readonly nodeId: string;
  /** Connections it has registered. */
  readonly connections: number;
  /** Whether this is the node that was asked. */
  readonly self: boolean;
}

/** Who is subscribed to a topic. */
export interface Presence {
  readonly connections: readonly {
    readonly connectionId: string;
    readonly nodeId: string;
    /** Who the connection belongs to; absent for a connection without a user. */
    readonly user?: string;
  }[];
  /** Nodes that did not answer in time; empty when the answer is complete. */
  readonly missing: readonly string[];
}

/** An event for one connection; its frame is event-stream text without an id. */
export interface Message {
  readonly connectionId: string;
  /** Identifies the message; the owner delivers one id to one connection once. */
  readonly messageId: string;
  readonly frame: Frame;
  /** `owner`: wait for the owner's answer. `none`: dispatch it without waiting. */
  readonly ack: 'owner' | 'none';
  /** Milliseconds to wait for the owner's answer. */
  readonly deadline: number;
  /** The application chose its id: for a minute the cluster knows who got it. */
  readonly named?: boolean;
  /** See {@link ClusterCoordinator}. */
  readonly trace?: string;
}

/** A message that was sent, without a certain outcome. */
export interface SentMessage {
  readonly connectionId: string;
  readonly messageId: string;
  /** The node that was asked to deliver it, where that is known. */
  readonly nodeId?: string | undefined;
  /** Milliseconds since it was sent. */
  readonly age: number;
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
  /** Publishing the same key to the same topic again within a minute changes nothing and returns the first result. */
  readonly idempotencyKey?: string;
  /** See {@link ClusterCoordinator}. */
  readonly trace?: string;
  /** Names the publication for its receivers: 1 to 32 characters of `A-Z a-z 0-9 _ -`. Default: a random one, or none. */
  readonly id?: string;
}

/** Answer to a publication. */
export interface PublicationResult {
  /** Its position in the log; absent when it is not kept. */
  readonly cursor?: Cursor;
  /** Nodes with a live lease, this one included. */
  readonly nodes: number;
}

/** How much a client gets that begins at the present: the newest entries, or the newest entry of each topic. */
export type Backlog = number | 'latest';

/** A question to the log. */
export interface ReplayRequest {
  /** The topics; broadcasts are included. */
  readonly topics: readonly string[];
  /** The client has everything up to here. Without it the page has only the head. */
  readonly after?: Cursor;
  /**
   * In place of `after`: the client opened without the cluster, at this time by `performance.now()`, when the position of its
   * node was `seen`. The page has no entries. It has a gap when the client may have missed something: what was published after
   * `seen` and since the opening, give or take a second; where `seen` is not known, since a minute before.
   */
  readonly opened?: { readonly openedAt: number; readonly seen: Cursor | undefined };
  /**
   * The reader has read this head of the log: a page of what this node has delivered serves only if that goes so far. Without
   * it a page may end before, and the reader gets the rest from the listener.
   */
  readonly until?: Cursor;
  /**
   * The reader follows some of the topics only from these positions on: it gets no earlier entry, also of a backlog, and no gap
   * before. A position without an epoch is a time, which counts in every log, whatever `after` is.
   */
  readonly since?: ReadonlyMap<string, Cursor>;
  /**
   * In place of `after`: the page has the newest kept entries of these topics, 256 KiB at most but at least one, and is
   * complete. `most`: so many of all topics together, or the newest of each topic. Without broadcasts, and without a gap.
   */
  readonly backlog?: { readonly topics: readonly string[]; readonly most: Backlog };
  /** A connection id whose client begins anew: what is remembered of the subscriptions of that id is forgotten. */
  readonly forgets?: string;
  /** False: without broadcasts. */
  readonly broadcasts?: false;
  /** Most entries to return in this page, unless it is a backlog. */
  readonly limit: number;
}

/** One page of the log, in order. */
export interface ReplayPage {
  /** The newest entry of the log when the page was read. */
  readonly head: Cursor;
  /** Complete up to and including here; older than `head` when there is more. */
  readonly completeTo: Position;
  /** Set when entries between `after` and the first frame are missing. */
  readonly gap?: Gap | undefined;
  readonly frames: readonly Frame[];
}

/** A change of what a connection id follows, to be remembered for a client that comes back. */
export interface SubscriptionChange {
  readonly connectionId: string;
  readonly topic: string;
  /**
   * - `add`: it is subscribed, and followed the topic by nothing else; when it is dropped, nothing remains to be remembered.
   * - `keep`: it is subscribed.
   * - `drop`: it is unsubscribed.
   */
  readonly change: 'add' | 'keep' | 'drop';
  /** Most topics to remember of the id. */
  readonly limit: number;
  /** Milliseconds to remember all that is remembered of the id, from now on. */
  readonly ttl: number;
}

/** What is remembered of a topic: the client follows it, from the entry after `since` on, or does not follow it. */
export type RememberedTopic = { readonly kind: 'followed'; readonly since?: Cursor } | { readonly kind: 'dropped' };

/** Something that does not work although the cluster can be reached. */
export interface Impairment {
  /**
   * - `writes`: the cluster refuses changes: registrations and publications. Messages to connected clients go on.
   * - `partition`: the routes of some connection ids cannot be reached.
   * - `key`: data of the cluster, which `detail` names, cannot be read.
   * - `feed`: publications reach this node late, since it is reading what it missed.
   * - `eviction`: the cluster may delete what it keeps before its time.
   */
  readonly kind: 'writes' | 'partition' | 'key' | 'feed' | 'eviction';
  /** For people. */
  readonly detail: string;
}

/** Whether the cluster can be reached. */
export interface CoordinatorStatus {
  readonly reachable: boolean;
  /** What is wrong, for people. */
  readonly detail?: string;
  /** What is wrong, for programs, where it is known: no lease, no subscriptions, or a cluster that refuses all calls. */
  readonly trouble?: 'lease' | 'feed' | 'writes';
  /** What does not work although the cluster can be reached; absent when everything works. */
  readonly impaired?: readonly Impairment[];
}

/**
 * Who owns which connection id.
 *
 * **Guarantee.** At most one registration of an id is live in the cluster. Registrations of one id are ordered by their
 * fencing token; where two nodes believe to own an id, the larger token wins. A former owner gets `onSuperseded`, on whatever
 * node it is.
 *
 * **Idempotence.** Every call may be repeated with the same arguments without further effect. Only the registration with
 * the same token is removed by `unregister`, so a late call of a former owner changes nothing.
 *
 * **Failure.** Every method rejects with `UNAVAILABLE` while the cluster cannot be reached. A registration or release that
 * was rejected may have been carried out all the same.
 */
export interface RouteRegistry {
  register(registration: Registration): Promise<RegistrationResult>;
  /** Removes the route if it still carries this token. Resolves to whether it did. */
  unregister(connectionId: string, token: string): Promise<boolean>;
  /** Removes every route of this node, so that senders learn of it before the sockets close. */
  releaseAll(): Promise<void>;
  /** The live route of an id; `undefined` when it has none. */
  locate(connectionId: string): Promise<Route | undefined>;
  /** Exact number of live routes. */
  count(): Promise<number>;
  /** Live nodes, sorted by id. */
  nodes(): Promise<readonly NodeInfo[]>;
}

/**
 * The ordered publications of the cluster.
 *
 * **Order.** Publications with retention are totally ordered by their cursor. Each node gets them in that order, each once.
 * Publications of one node are in the order of its calls.
 *
 * **Delivery.** A node gets a topic's publications, by `onPublication`, from when `subscribe` has resolved until as many
 * calls of `unsubscribe`. It gets publications without a topic always. What it did not get for a while follows later, in
 * order; for what is lost it gets `onGap` before anything that comes after the gap. Publications without retention are
 * delivered at most once and in no order.
 *
 * **Failure.** All methods that return a promise reject with `UNAVAILABLE` while the cluster cannot be reached. A
 * publication that was rejected may have been kept all the same, unless the error says `noEffect`; an `idempotencyKey` makes
 * repeating it safe.
 */
export interface EventLog {
  publish(publication: Publication): Promise<PublicationResult>;
  /** One page of the log. Needs no subscription. */
  replay(request: ReplayRequest): Promise<ReplayPage>;
  /** Deletes the entries of a topic; readers that are before them get a gap. */
  forget(topic: string): Promise<void>;
  /** How many entries of a topic are kept. Those whose time is over may count until something is published to it. */
  kept(topic: string): Promise<number>;
  /** Subscribes this node. Calls are counted per topic. */
  subscribe(topics: Iterable<string>): Promise<void>;
  /** Takes back one `subscribe` of each topic. Never throws. */
  unsubscribe(topics: Iterable<string>): void;
  /** Remembers a change of what a client follows, from the head on. False: the id has `limit` topics, nothing changed. */
  remember(change: SubscriptionChange): Promise<boolean>;
  /** What is remembered of a connection id, by topic. It is remembered for `ttl` more milliseconds. */
  recall(connectionId: string, ttl: number): Promise<ReadonlyMap<string, RememberedTopic>>;
  /** This node's listener got everything of the log that it subscribes to up to here; `undefined` while that is not known. */
  position(): Cursor | undefined;
  /** What {@link position} was last, also while something may be missing. */
  lastPosition(): Cursor | undefined;
}

/**
 * Messages and commands for the node that owns a connection, this node included.
 *
 * **Order.** Messages are delivered in the order of the calls, per sending node and connection.
 *
 * **Delivery.** A message that was answered `delivered` or `buffered` reached the owner; the owner delivers one message id
 * once. With `ack: 'none'` it reaches the owner at most once. A `named` message is not sent to another connection until the
 * node of the one that may have got it says that it was not delivered; `unknown` while that node cannot say so.
 *
 * **Failure.** `send` never rejects because of the cluster: it resolves to `unavailable` when the message was certainly not
 * sent, else to `unknown`. Every other method rejects with `UNAVAILABLE` when the cluster cannot be reached; then no node
 * carried it out. A node that does not answer is no failure: its id is `missing`, or the outcome is `unknown`.
 */
export interface NodeMessenger {
  /** Resolves within the deadline of the message. */
  send(message: Message): Promise<SendResult>;
  /** Closes the connection at its owner. @param trace as in {@link Message} */
  close(connectionId: string, reason: CloseReason, trace?: string): Promise<CloseReceipt>;
  /** Closes all connections of all nodes. @param trace as in {@link Message} */
  closeAll(reason: CloseReason, trace?: string): Promise<CloseReceipt>;
  /**
   * Carries a revocation out on every node, and keeps a mark of it: a node that does not answer carries it out when it is back.
   * `unavailable`: no mark is kept. Repeating it is harmless.
   * @param trace as in {@link Message}
   */
  revoke(revocation: Revocation, trace?: string): Promise<CloseReceipt>;
  /** Subscribes a connection at its owner. */
  subscribe(connectionId: string, topic: string): Promise<CommandReceipt>;
  /** Unsubscribes a connection at its owner. */
  unsubscribe(connectionId: string, topic: string): Promise<CommandReceipt>;
  presence(topic: string): Promise<Presence>;
  /**
   * Asks all nodes what became of a message whose outcome was `unknown`. `undefined`: no node delivered the message, and none
   * will. `unknown` while the node that may have delivered it cannot say so.
   */
  outcomeOf(message: SentMessage): Promise<SendResult | undefined>;
  /** Ends a resumable source on the node that runs it. */
  endSource(key: string): Promise<CommandReceipt>;
  /**
   * Asks the owner whether the connection was given the entry of its mailbox at a position. The owner may wait about a
   * second for that. `undefined`: not yet, or not connected, or its node gives it no mailbox, or its send buffer refused it.
   */
  hasReached(connectionId: string, position: Position): Promise<SendResult | undefined>;
  /** Gives the owner the report of a client. `rejected`: the owner did not accept it. */
  confirm(report: ConfirmationReport): Promise<CommandReceipt>;
  /**
   * Asks the owner whether the client confirmed a message; the owner waits for that, so many milliseconds at most. `undefined`:
   * it did not, or it is not connected, or it does not confirm, or the owner did not answer.
   */
  isConfirmed(connectionId: string, messageId: string, ms: number): Promise<SendResult | undefined>;
}

/**
 * Exclusive rights for a time. A lock ends with its time, or when its holder gives it up.
 *
 * **Guarantee.** A lock has at most one holder at a time, by the clock of the cluster. A holder that cannot prolong its
 * lock in time must assume that another has it.
 *
 * **Failure.** All methods reject with `UNAVAILABLE`; a lock may have been acquired all the same; `lockHolder` says
 * whether it was.
 */
export interface Locks {
  /** Acquires the lock, or prolongs it, for so many milliseconds from now on. Resolves to whether `holder` has it. */
  acquireLock(name: string, holder: string, ms: number): Promise<boolean>;
  /** Gives the lock up, if `holder` has it. */
  releaseLock(name: string, holder: string): Promise<void>;
  /** Who has the lock now; `undefined` when it is free. */
  lockHolder(name: string): Promise<string | undefined>;
}

/**
 * How the nodes act as one system. Composed of small contracts, each with its own guarantees.
 *
 * **Trace.** A message, a publication, a close or a revocation may carry a `trace`: text of the telemetry layer, which the listener of the receiving
 * node gets unread. Text that is not 1 to 1,024 printable ASCII characters is dropped, never an error. Replayed entries
 * carry none.
 *
 * **Who may call when.** `start` must have resolved before any other call but `status`, `close` and `leakProbes`. A library
 * service calls `start` before its first use. All methods may be called concurrently.
 *
 * **Failure.** After `close` every method but `close`, `status`, `log.unsubscribe`, `log.position` and `leakProbes` rejects
 * with `CLOSED`. All other errors are SseErrors of the codes that the parts document.
 */
export interface ClusterCoordinator {
  /** Name for logs and the demo's first line: `local`, `redis`. */
  readonly kind: string;
  readonly routes: RouteRegistry;
  readonly log: EventLog;
  readonly messenger: NodeMessenger;
  readonly locks: Locks;
  readonly selfCheck?: SelfCheck;
  /** Joins the cluster. Calling it again changes nothing. A start that was rejected may be tried again. */
  start(listener: ClusterListener): Promise<void>;
  /** Leaves the cluster: releases its routes and its proof of life. Calling it twice is harmless. */
  close(): Promise<void>;
  /**
   * The last known state, by which this node decides whether a connection opens without the cluster. It makes no call.
   * @param connectionId leaves out what does not concern this connection id
   */
  status(connectionId?: string): CoordinatorStatus;
}

export const ClusterCoordinator: ServiceIdentifier<ClusterCoordinator> = Symbol.for(
  'distributed-sse/ClusterCoordinator',
);
