import type { ServiceIdentifier } from 'inversify';
import type { Admission, RevocationOptions, RevocationSelector } from './authorization.js';
import type { Backlog, NodeInfo, Presence } from './cluster.js';
import type { CloseReason, ConnectionSink, ConnectionState, ResetHook, SseConnection } from './connection.js';
import type {
  BroadcastReceipt,
  CloseReceipt,
  CommandReceipt,
  EventMap,
  EventOptions,
  FanOut,
  LocalReceipt,
  PublishReceipt,
  Receipt,
} from './events.js';

/** Settings of one connection. */
export interface ConnectionOptions {
  /** Topics it is subscribed to from the start. */
  readonly topics?: readonly string[] | undefined;
  /**
   * Who the connection belongs to, 1 to 256 bytes of text. Its id is then `connectionIdOf(user, connectionId)`, and it follows
   * the user's own topic. Default: nobody; then whoever names the id takes the connection over.
   */
  readonly user?: string | undefined;
  /**
   * By `performance.now()`: when it was found out who the client is. A revocation that is later concerns the connection.
   * Default now.
   */
  readonly admittedAt?: number | undefined;
  /** When the stream ends with reason `expired`. Default never. */
  readonly expiresAt?: Date | undefined;
  /** The topics that it may follow, now and by `subscribe`. Default: what the `Authorizer` grants. */
  readonly allowedTopics?: readonly string[] | undefined;
  /**
   * From where the client connects, for limits by address and audit records. The middleware gives `ctx.ip` where one of them
   * needs it. Default: not known.
   */
  readonly address?: string | undefined;
  /** What the client sent as its last event id; a cursor of ours resumes, anything else starts at the present. */
  readonly lastEventId?: string | undefined;
  /**
   * For a client without a last id of ours: right after `connected` it gets the newest kept entries of `topics`, in log order and
   * without `sse.reset`. A number from 1 to 1000: so many of all topics together. `'latest'`: the newest of each topic.
   * Together at most 256 KiB, but at least one entry; older ones are left out. Not for broadcasts. Default: none.
   */
  readonly backlog?: Backlog | undefined;
  /** Default `connection.onDuplicate`. */
  readonly onDuplicate?: 'takeover' | 'reject' | undefined;
  /**
   * `'application'`: the ids of the application's own events are the last id of the client. `connected` repeats the id of the
   * request, and broadcasts carry none and are not replayed. Such a connection follows no topics, has no backlog and no mailbox, and gets no
   * `sse.reset`. On every other connection an event with an id is `rejected` with `INVALID_EVENT_ID`, since it would overwrite
   * the position from which the client resumes.
   */
  readonly ids?: 'application' | undefined;
  /** The client confirms sends with `ack: 'client'`: `connected` has a token for {@link SseService.confirm}. */
  readonly confirms?: boolean | undefined;
  /**
   * Follows a resumable source from its start, or from the client's last id: the node of the first
   * follower in the cluster calls `start`. Every connection with the same key, 1 to 128 bytes of text, gets the events. The
   * stream ends with the source. While the cluster cannot be reached, the call fails with `UNAVAILABLE`. A client that has
   * every event of an ended source gets `SOURCE_ENDED`. It belongs to the user of its first follower: other users, and
   * connections without a user, get `FORBIDDEN`, unless it is shared.
   */
  readonly source?:
    | {
        readonly key: string;
        /** Connections of every user, and those without a user, may follow it. The same for each follower. Default false. */
        readonly shared?: boolean;
        readonly start: (source: ResumableSource) => unknown;
      }
    | undefined;
  /**
   * Called once, before the response head is sent and any former connection of this id is closed. The connection is `opening`:
   * it holds what arrives and what is sent to it. The head waits for the promise until it settles, something is sent, or
   * 200 ms have passed; an error until then refuses the connection and is thrown by the call.
   */
  readonly beforeOpen?: ((connection: SseConnection) => unknown) | undefined;
  /** Called whenever this client gets `sse.reset`. */
  readonly onReset?: ResetHook | undefined;
}

/** Settings of a broadcast on one node. */
export type BroadcastOptions = Pick<EventOptions, 'retry'>;

/** Settings of a direct send. */
export interface SendOptions extends EventOptions {
  /**
   * Send the same id again, on this node and within a minute, after `unknown` or `unavailable`: the client gets the event once,
   * also where it has moved to another node. The outcome is `unknown` again while no node can know whether the client has it.
   * 1 to 128 bytes of text. Default: a new one.
   */
  readonly messageId?: string;
}

/** Settings of a send to any node. */
export interface ClusterSendOptions extends SendOptions {
  /**
   * `owner`: the receipt says what the owning node did. `none`: the send is not awaited. `client`: the receipt waits until the
   * client says that it has handled the event, up to the deadline: `confirmed`; otherwise the outcome is that of `owner`. Needs
   * `confirmation.enabled`, else `INVALID_OPTION`. Default `send.ack`.
   */
  readonly ack?: 'owner' | 'none' | 'client';
  /** Milliseconds; default `send.deadline`. */
  readonly deadline?: number;
  /**
   * Keep it in the connection's mailbox, so that a client that is not connected, or loses its connection, gets it when it
   * comes back. `stored` then says that it is kept and its client was not seen to have it yet. Needs `mailbox.enabled`, else
   * `INVALID_OPTION`. Ordered with the connection's topics, not with sends that are not kept.
   */
  readonly durable?: boolean;
}

/** Settings of a publish or a broadcast to the cluster. The log gives the event its id. */
export interface PublishOptions {
  /** The clients' reconnection time from now on, in whole milliseconds. */
  readonly retry?: number;
  /** False: not kept for replay, at most once, cheaper. Default: as the settings say. */
  readonly history?: false;
  /** Publishing the same key to the same topic again within a minute changes nothing and returns the first id. 1 to 128 bytes of text. */
  readonly idempotencyKey?: string;
}

/** Settings of a drain. */
export interface DrainOptions {
  /** Milliseconds after which the drain ends in any case. Default `reliability.gracefulShutdownTimeout`. */
  readonly timeout?: number;
}

/** Tickets for clients that cannot send headers, such as `EventSource`: each admits one connect, on any node. */
export interface Tickets {
  /**
   * A ticket, 43 characters that are safe in a URL, that stands for this admission.
   * @param options `ttl`: milliseconds it lives, 1 to 300000; default 30000
   * @throws SseError `INVALID_USER`, `INVALID_OPTION`, `UNAVAILABLE`, `CLOSED`
   */
  issue(admission: Admission, options?: { readonly ttl?: number }): Promise<string>;
  /**
   * What a ticket stands for; `undefined` when it is unknown, was redeemed before, or is too old.
   * @throws SseError `UNAVAILABLE`, `CLOSED`
   */
  redeem(ticket: string): Promise<Admission | undefined>;
}

/**
 * Everything an application does with its clients. The seed's ten methods keep their names.
 *
 * **Arguments.** Every method that takes an event throws (or rejects with) `INVALID_EVENT_NAME`, `INVALID_EVENT_ID`,
 * `INVALID_RETRY` or `NOT_SERIALIZABLE` before anything is sent.
 *
 * **Outages.** `sendMessageToConnection`, `publish`, `broadcastToCluster`, `subscribe`, `unsubscribe`, `closeConnection` and
 * `closeAllConnections` never reject because of the cluster, and after `close` they answer `unavailable` with code `CLOSED`:
 * `void sse.publish(...)` is safe in a timer. Questions have no answer in an outage: they reject with `UNAVAILABLE`, and
 * after `close` with `CLOSED`, as every other method does but `close` and `health`.
 */
export interface SseService<Events extends EventMap = EventMap> {
  /** Name of this node, `node.id`. */
  readonly nodeId: string;

  /**
   * Registers a connection here and in the cluster, writes the head, the event `connected` and what its cursor missed,
   * then goes live. On failure the sink was neither opened nor kept. A refusal that no code waits for ends no process.
   * @throws SseError `INVALID_CONNECTION_ID`, `INVALID_TOPIC`, `CONNECTION_LIMIT`, `DUPLICATE_CONNECTION`,
   * `TAKEOVER_STORM`, `DRAINING`, `UNAVAILABLE`, `INVALID_USER`, `FORBIDDEN` for a topic or source that the connection may not
   * follow, or `CONNECTION_CLOSED` when the client left meanwhile.
   */
  createConnection(
    connectionId: string,
    sink: ConnectionSink,
    options?: ConnectionOptions,
  ): Promise<SseConnection<Events>>;

  /** Sends to a connection of this node. Too large or over the send buffer bound is a `rejected` receipt. */
  sendMessage<Name extends keyof Events & string>(
    connectionId: string,
    event: Name,
    data: Events[Name],
    options?: SendOptions,
  ): LocalReceipt;
  /** Sends to every connection of this node. @throws SseError `EVENT_TOO_LARGE` */
  broadcast<Name extends keyof Events & string>(event: Name, data: Events[Name], options?: BroadcastOptions): FanOut;
  /** Sends to a connection wherever it is. Resolves within the deadline. */
  sendMessageToConnection<Name extends keyof Events & string>(
    connectionId: string,
    event: Name,
    data: Events[Name],
    options?: ClusterSendOptions,
  ): Promise<Receipt>;
  /**
   * Sends to every connection of every node, in one order for all, kept for replay. When the cluster does not get it, or
   * does not answer, this node's connections get it all the same. Resolves within `send.deadline`.
   */
  broadcastToCluster<Name extends keyof Events & string>(
    event: Name,
    data: Events[Name],
    options?: PublishOptions,
  ): Promise<BroadcastReceipt>;
  /** Closes a connection wherever it is. @throws SseError `INVALID_CONNECTION_ID`, `INVALID_REASON` */
  closeConnection(connectionId: string, reason?: CloseReason): Promise<CloseReceipt>;
  /**
   * Ends the connections of a user, or one connection, on every node; with topics it takes these topics from the connections
   * of a user. It concerns every client that was admitted before this call, also one whose stream is still opening (it gets
   * 403), and none that is admitted later: change first what guards answer. `closed`: how many streams ended or lost a
   * topic. `missing`: nodes that did not answer. A node that hangs or is cut off carries the revocation out as soon as it is
   * back. On this node it needs no cluster; `unavailable` says that the cluster does not know it yet: this node passes it on
   * when the cluster is back. Repeating it is harmless.
   * @throws SseError `INVALID_USER`, `INVALID_CONNECTION_ID`, `INVALID_TOPIC`, `INVALID_REASON`, `INVALID_OPTION`
   */
  revoke(selector: RevocationSelector, options?: RevocationOptions): Promise<CloseReceipt>;
  /** For clients that cannot send headers. */
  readonly tickets: Tickets;
  /** Closes the connections of this node, or of all. @throws SseError `INVALID_REASON` */
  closeAllConnections(reason?: CloseReason, options?: { readonly cluster?: boolean }): Promise<CloseReceipt>;
  /** Whether any node has the connection. @throws SseError `UNAVAILABLE` */
  isConnected(connectionId: string): Promise<boolean>;
  /** Whether this node has the connection. */
  hasLocal(connectionId: string): boolean;
  /** The node that has the connection. @throws SseError `UNAVAILABLE` */
  locate(connectionId: string): Promise<string | undefined>;
  /** Open connections of this node. */
  getConnectionCount(): number;
  /**
   * The connections of this node, opening ones included; never asks the cluster.
   * @throws SseError `INVALID_OPTION`, `INVALID_USER`, `INVALID_TOPIC`
   */
  connections(filter?: ConnectionFilter): readonly ConnectionInfo[];
  /** Exact sum over all live nodes. @throws SseError `UNAVAILABLE` */
  getClusterConnectionCount(): Promise<number>;

  /**
   * Sends to the subscribers of a topic, in one order for all, kept for replay when the topic has history. Resolves within
   * `send.deadline`. @throws SseError `INVALID_TOPIC`
   */
  publish<Name extends keyof Events & string>(
    topic: string,
    event: Name,
    data: Events[Name],
    options?: PublishOptions,
  ): Promise<PublishReceipt>;
  /**
   * As {@link publish}, for all streams of a user, on whatever node: every tab and every device. The topic of the receipt is
   * reserved. @throws SseError `INVALID_USER`
   */
  publishToUser<Name extends keyof Events & string>(
    user: string,
    event: Name,
    data: Events[Name],
    options?: PublishOptions,
  ): Promise<PublishReceipt>;
  /** The connections of a user, on every node. @throws SseError `INVALID_USER`, `UNAVAILABLE` */
  connectionsOf(user: string): Promise<Presence>;
  /**
   * Subscribes a connection wherever it is; after `delivered` it gets what is published from then on. The subscription is
   * remembered until `history.ttl` after the end of the connection, at least: a client that comes back with a last id, on any
   * node, follows the topic again and gets what it missed since the subscription began. `stored`: no node has the
   * connection, and its client follows the topic when it comes back like that. A client without a last id begins anew.
   * `rejected` with code `FORBIDDEN`: the connection may not follow the topic.
   * @throws SseError `INVALID_CONNECTION_ID`, `INVALID_TOPIC`
   */
  subscribe(connectionId: string, topic: string): Promise<CommandReceipt>;
  /**
   * Takes a subscription back, one of `topics` as well, and remembers that in the same way.
   * @throws SseError `INVALID_CONNECTION_ID`, `INVALID_TOPIC`
   */
  unsubscribe(connectionId: string, topic: string): Promise<CommandReceipt>;
  /**
   * Ends a resumable source on whatever node it runs, as if it had completed: its streams end, and their clients do not come
   * back. `not-connected`: no node runs it. `unknown`: a node did not answer. @throws SseError `INVALID_EVENT_ID`
   */
  stopSource(key: string): Promise<CommandReceipt>;
  /**
   * Stops a resumable source, as {@link stopSource}, and lets its key run again before `source.ttl` is over: its events and its
   * end are forgotten. `delivered`: the next follower begins a new run. @throws SseError `INVALID_EVENT_ID`
   */
  forgetSource(key: string): Promise<CommandReceipt>;
  /**
   * Takes the report of a client that confirms, on whatever node its connection is. The endpoints call it; call it for a POST
   * to a route of your own. `rejected`: `FORBIDDEN` for another token, `RATE_LIMITED` for more than 20 reports a second.
   * @param user who the connection belongs to, if anyone
   * @throws SseError `INVALID_REQUEST` for anything but a report, `INVALID_OPTION` without `confirmation.enabled`
   */
  confirm(report: unknown, user?: string): Promise<CommandReceipt>;
  /** Who is subscribed to a topic, on every node. @throws SseError `INVALID_TOPIC`, `UNAVAILABLE` */
  presence(topic: string): Promise<Presence>;
  /**
   * The log's present id. A page that is rendered before it connects gives it to its stream as the last id (header or query), and
   * gets everything that is published after this call. Ask before reading the data of the page. @throws SseError `UNAVAILABLE`
   */
  position(): Promise<string>;
  /** The live nodes and how many connections each has. @throws SseError `UNAVAILABLE` */
  nodes(): Promise<readonly NodeInfo[]>;

  /** Joins the cluster. Calling it is optional: the first connection does it. Twice is harmless. */
  start(): Promise<void>;
  /**
   * Takes the node out without a storm: refuses new connections, releases its routes, sends each client a random
   * reconnection time and closes them in paced waves. Sources that run may finish within the timeout, and sends that wait
   * get their answers. Then as `close`. Resolves when everything is closed, or when the timeout is over: then what is left
   * has been cut, and what a cluster that does not answer keeps of this node expires. Twice is harmless.
   */
  drain(options?: DrainOptions): Promise<void>;
  /** Closes every connection and leaves the cluster. Twice is harmless. */
  close(): Promise<void>;
  health(): Health;
}

/** Which connections of this node; an absent key lets all through. */
export interface ConnectionFilter {
  readonly user?: string;
  /** Connections that are subscribed to the topic. */
  readonly topic?: string;
}

/** One connection of this node, at the time of the call. */
export interface ConnectionInfo {
  readonly connectionId: string;
  /** Who the connection belongs to; absent for a connection without a user. */
  readonly user?: string;
  readonly state: ConnectionState['kind'];
  /** The topics that the application subscribed it to. */
  readonly topics: readonly string[];
  /** Bytes accepted for this client that its socket has not accepted yet. */
  readonly sendBufferBytes: number;
  /** Milliseconds since the request. */
  readonly ageMs: number;
  /** The id up to which the client was given every entry of its topics; absent before the first one. */
  readonly cursor?: string;
}

export const SseService: ServiceIdentifier<SseService> = Symbol.for('distributed-sse/SseService');

/** The argument of a resumable endpoint's handler, instead of a connection: the handler runs once for all followers. */
export interface ResumableSource {
  /** Aborts when the source can no longer publish: its node closes, or lost the lock of the source. */
  readonly signal: AbortSignal;
}

/** Why a node is not ready, or works with losses. */
export type HealthReasonCode =
  /** `start` has not succeeded yet. */
  | 'STARTING'
  /** A drain is under way or done. */
  | 'DRAINING'
  /** The service was closed. */
  | 'CLOSED'
  /** The cluster cannot be reached; local delivery goes on. */
  | 'CLUSTER_UNREACHABLE'
  /** The cluster answers, but counts this node as gone until it has joined again. */
  | 'LEASE_LOST'
  /** The cluster answers, but publications reach this node late: it is restoring its subscriptions or catching up. */
  | 'FEED_BEHIND'
  /**
   * The store of the cluster is full, read-only or lacks replicas, and refuses writes; still ready: messages to connected
   * clients go on. Not ready where it refuses all calls.
   */
  | 'WRITES_REFUSED'
  /** The routes of some connection ids cannot be reached; still ready, since all others can. */
  | 'PARTITION_UNREACHABLE'
  /** Data of the cluster cannot be read; still ready, since everything else works. The message names the key. */
  | 'KEY_UNREADABLE'
  /**
   * The store of the cluster deletes entries, routes and locks when its memory is full (`maxmemory-policy`); still ready. A
   * client that resumes gets `sse.reset` for entries that were deleted.
   */
  | 'EVICTION_POLICY'
  /** A check found this node and the cluster to differ, under `consistency.inconsistencyHandlingStrategy: 'fail_fast'`. */
  | 'INCONSISTENT'
  /** A circuit of the resilience policy is open. */
  | 'CIRCUIT_OPEN'
  /** `connection.maxConnections` is reached; still ready, since present clients are served. */
  | 'CONNECTION_LIMIT'
  /** The send buffers of slow clients hold the whole process budget; still ready. */
  | 'SEND_BUFFER_BUDGET';

export interface HealthReason {
  readonly code: HealthReasonCode;
  readonly message: string;
}

/** The state of a node for load balancers and operators. */
export interface Health {
  /** False only when a restart is the cure. */
  readonly live: boolean;
  /** Whether new connections should come here. */
  readonly ready: boolean;
  /** Serves, but not everything works. */
  readonly degraded: boolean;
  /** Empty when all is well. */
  readonly reasons: readonly HealthReason[];
}
