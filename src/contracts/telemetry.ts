import type { IncomingHttpHeaders } from 'node:http';
import type { ServiceIdentifier } from 'inversify';
import type { CloseReason, SseConnection } from './connection.js';
import type {
  BroadcastReceipt,
  Cursor,
  FanOut,
  LocalResult,
  Outcome,
  PublishReceipt,
  ResetReason,
  SendResult,
} from './events.js';
import type { CircuitState, OperationKind, RefusalReason } from './policy.js';
import type { ReconcileReport } from './self-check.js';
import type { LocalConnection } from './store.js';

/** Whom an event is for: one connection, the one whose source yields it, this node's, a topic's subscribers, everyone. */
export type Scope = 'connection' | 'source' | 'node' | 'topic' | 'cluster';

/**
 * What a cleanup removes: connections that accept no bytes, routes that were not refreshed, routes of a dead node, resumable
 * sources whose node is gone.
 */
export type CleanupKind = 'connection' | 'route' | 'node' | 'source';

/** Whom a publication is for. */
export type Audience =
  | { readonly scope: 'cluster' }
  | { readonly scope: 'topic'; readonly topic: string }
  /** The clients that follow the resumable source of that key. */
  | { readonly scope: 'source'; readonly key: string };

/** The receivers of a log entry: an audience, or the connection that owns the mailbox. */
export type Addressee =
  | Audience
  | {
      readonly scope: 'connection';
      readonly connectionId: string;
      /** The one of this node with that id. */
      readonly connection: LocalConnection | undefined;
    };

/** What a node asks of the cluster and waits for, sends and publications apart. */
export type Command =
  | 'locate'
  | 'count'
  | 'nodes'
  | 'presence'
  | 'position'
  | 'subscribe'
  | 'unsubscribe'
  | 'close'
  | 'close-all'
  | 'revoke'
  | 'end-source';

/** A request for a stream. */
export interface OpeningSubject {
  readonly connectionId: string;
  /** The topics it asks for. */
  readonly topics: readonly string[];
  /** The key of the resumable source it follows. */
  readonly source: string | undefined;
}

/** A send to one connection. */
export interface SendSubject {
  readonly connectionId: string;
  readonly messageId: string;
  readonly event: string;
  /** Whether it goes to a connection of this node without leaving it. */
  readonly here: boolean;
  /** State of telemetry between sending and routing; other code neither reads nor writes it. */
  context?: unknown;
}

/** A message of another node, or of this one, that came through the cluster. */
export interface ArrivedMessage {
  readonly connectionId: string;
  readonly messageId: string;
  /** Bytes of its frame. */
  readonly size: number;
  readonly connection: LocalConnection | undefined;
  readonly trace: string | undefined;
}

/** A publication that arrived at this node. */
export interface ArrivedPublication {
  readonly to: Addressee;
  /** Bytes of its frame. */
  readonly size: number;
  /** Its position in the log, if the publication is kept. */
  readonly position: Cursor | undefined;
  readonly trace: string | undefined;
}

/** The result of a replay. */
export interface ReplaySummary {
  readonly entries: number;
  /** The reasons of the gaps that the client got as `sse.reset`. */
  readonly resets: readonly ResetReason[];
}

/** The result of a comparison of this node with the cluster. */
export type ConsistencySummary = Pick<ReconcileReport, 'checked' | 'found' | 'repairs' | 'unknown'>;

/** Present values of a node; each call is cheap. */
export interface NodeGauges {
  connections(): number;
  /** Bytes that wait for slow clients. */
  sendBufferBytes(): number;
  /** Sends that wait for their owner's answer. */
  pendingSends(): number;
  circuit(kind: OperationKind): CircuitState;
}

/** Counted on the hot path, where a call would cost too much: added to in place, only ever growing. */
export interface TrafficCounts {
  /** Bytes handed to sockets. */
  bytesWritten: number;
  /** Events that a full send buffer cost. */
  eventsDropped: number;
}

/** Records clients that come and go. */
export interface ConnectionTelemetry {
  /** The answering of a request, in the trace that its headers name unless one has begun already. */
  receiving<T>(headers: IncomingHttpHeaders, work: () => T): T;
  /** The opening of a connection, until it is live. */
  opening<C extends LocalConnection>(subject: OpeningSubject, work: () => Promise<C>): Promise<C>;
  /** A request for a stream was refused before {@link opening}. */
  refused(connectionId: string | undefined, error: unknown): void;
  /**
   * Within {@link opening}: the connection is let in. Gives it its `origin`.
   * @param degraded without the knowledge of the cluster, which cannot be reached
   */
  admitted(connection: LocalConnection, degraded?: boolean): void;
  /** Within {@link opening}: the replay of missed or waiting entries. */
  replaying(connectionId: string, work: () => Promise<ReplaySummary>): Promise<ReplaySummary>;
  /** A client got `sse.reset` in a stream that goes on. */
  reset(reason: ResetReason, connectionId?: string): void;
  /** Code of the application that handles a connection; it continues the trace of the opening. */
  handling<T>(connection: SseConnection, work: () => T): T;
  /** A command to the cluster, or a question, until its answer. `connectionId`: whom it is about, if it is one. */
  commanding<R>(command: Command, connectionId: string | undefined, work: () => Promise<R>): Promise<R>;
  /** The trace that a close, or the opening that takes an id over, carries to other nodes. */
  cause(): string | undefined;
  /** Closes connections for another node. @param trace what the other node's {@link cause} gave */
  closing(trace: string | undefined, work: () => number): number;
  /** A connection stopped, because of what runs at present. One that was not {@link admitted} is not recorded. */
  stopped(connection: LocalConnection, reason: CloseReason): void;
  /** The node sends its clients away. */
  draining(work: () => Promise<void>): Promise<void>;
}

/** Records events on their way. */
export interface EventTelemetry {
  /** A send to one connection. */
  sending<R extends SendResult | Promise<SendResult>>(subject: SendSubject, work: () => R): R;
  /** Within {@link sending}: the cluster delivers, retries included. `work` gets the trace that the message carries. */
  routing(subject: SendSubject, work: (trace: string | undefined) => Promise<SendResult>): Promise<SendResult>;
  /** A broadcast on this node alone. */
  broadcasting(event: string, work: () => FanOut): FanOut;
  /** A publication; scope `cluster` is a broadcast, scope `source` the end of a source. `work` gets the trace to carry. */
  publishing<R extends BroadcastReceipt | PublishReceipt>(
    to: Audience,
    event: string,
    work: (trace: string | undefined) => Promise<R>,
  ): Promise<R>;
  /** Appends an event of a resumable source to the log. `work` gets the trace that the event carries. */
  appending(event: string, work: (trace: string | undefined) => Promise<void>): Promise<void>;
  /** Counts the outcome of an event for one connection. */
  sent(scope: 'connection' | 'source', event: string, outcome: Outcome): void;
  /** A connection of this node takes a message. */
  delivering(message: ArrivedMessage, work: () => LocalResult): LocalResult;
  /** The connections of this node take a publication. */
  fanningOut(publication: ArrivedPublication, work: () => FanOut): FanOut;
}

/** Records the maintenance of a node. */
export interface MaintenanceTelemetry {
  /** One run of a cleanup; `work` answers how many it removed. */
  expiring<R extends number | Promise<number>>(kind: CleanupKind, work: () => R): R;
  /** One comparison of this node with the cluster. */
  reconciling<S extends ConsistencySummary>(work: () => Promise<S>): Promise<S>;
  /** Leaked objects were found. */
  leaked(kind: string, count: number): void;
  /** A failed call is about to be repeated. */
  retrying(kind: OperationKind, error: unknown): void;
  /** The policy refused a call or gave it up. */
  refusing(kind: OperationKind, reason: RefusalReason): void;
  /** Commands to Redis, which an instrumentation of its client must not record: they carry ids and events. */
  quietly<R>(work: () => R): R;
  /** Redis answered a command, or failed it. @param ms milliseconds it took */
  commanded(command: string, ms: number, error?: unknown): void;
}

/** A call of the application that has its receipt. */
export interface SettledCall {
  /** `connection` is a send. */
  readonly scope: 'connection' | 'topic' | 'cluster';
  /** A connection id, a topic, or `*`. */
  readonly to: string;
  readonly event: string;
  /** Of a send. */
  readonly messageId?: string;
  readonly result: SendResult | BroadcastReceipt | PublishReceipt;
  /** Milliseconds it took. */
  readonly ms: number;
  /** The trace in which it is recorded. */
  readonly traceId: string | undefined;
}

/** Gets what a node records while somebody looks at the node. No method may throw or wait. */
export interface TelemetryWatcher {
  onOpened(connection: LocalConnection, degraded: boolean): void;
  onStopped(connection: LocalConnection, reason: CloseReason): void;
  /** @param code of the `SseError`, or the name of another error */
  onRefused(connectionId: string | undefined, code: string): void;
  onReset(reason: ResetReason, connectionId: string | undefined): void;
  onReplayed(entries: number): void;
  onSettled(call: SettledCall): void;
  /** An event for one connection has its outcome; {@link onRouted} as well where another node delivered it, or a mailbox. */
  onSent(scope: 'connection' | 'source', outcome: Outcome): void;
  onRouted(outcome: Outcome): void;
  /** A message of another node has its outcome. */
  onDelivered(outcome: Outcome): void;
  /** An event reached this node. @param topic that it was published to, as the application names it */
  onArrived(fanOut: FanOut, topic: string | undefined): void;
  /** @param ms from the call to the delivery, by the clocks of both nodes */
  onLatency(ms: number): void;
  /** @param lagMs from the log to this node, by both clocks */
  onLag(lagMs: number): void;
  onRepaired(repairs: Readonly<Record<string, number>>): void;
  onDraining(): void;
}

/**
 * Records the work of a node. Spans are short: none lasts as long as a stream, and a broadcast makes
 * one per node, none per connection.
 *
 * The verbs that take `work` run it exactly once, at once, and return what it returns or throw what it throws. No verb
 * throws anything of its own, and none waits.
 */
export interface Telemetry {
  readonly connections: ConnectionTelemetry;
  readonly events: EventTelemetry;
  readonly maintenance: MaintenanceTelemetry;
  readonly traffic: TrafficCounts;
  /** Reports these figures until the returned function is called. One node at a time. */
  observe(gauges: NodeGauges): () => void;
  /**
   * Notifies the watcher from now on, in place of a former one; without a watcher it costs nothing. Returns whether anything
   * is recorded at all.
   */
  watch(watcher: TelemetryWatcher | undefined): boolean;
}

export const Telemetry: ServiceIdentifier<Telemetry> = Symbol.for('distributed-sse/Telemetry');
