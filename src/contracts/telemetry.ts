import type { IncomingHttpHeaders } from 'node:http';
import type { ServiceIdentifier } from 'inversify';
import type { ConsistencyReport } from './cluster.js';
import type { CloseReason, SseConnection } from './connection.js';
import type {
  BroadcastReceipt,
  FanOut,
  LocalResult,
  Outcome,
  Position,
  PublishReceipt,
  ResetReason,
  SendResult,
} from './events.js';
import type { CircuitState, OperationKind, RefusalReason } from './policy.js';
import type { LocalConnection } from './store.js';

/** Whom an event is for: one connection, the one whose source yields it, this node's, a topic's subscribers, everyone. */
export type Scope = 'connection' | 'source' | 'node' | 'topic' | 'cluster';

/**
 * What a cleanup removes: connections that take nothing, routes that nobody refreshed, routes of a dead node, resumable
 * sources that nobody runs any more.
 */
export type CleanupKind = 'connection' | 'route' | 'node' | 'source';

/** Whom a publication is for. */
export type Audience =
  | { readonly scope: 'cluster' }
  | { readonly scope: 'topic'; readonly topic: string }
  /** Whoever follows the resumable source of that key. */
  | { readonly scope: 'source'; readonly key: string };

/** Whom something of the log is for: an audience, or the one connection whose mailbox it is in. */
export type Addressee =
  | Audience
  | {
      readonly scope: 'connection';
      readonly connectionId: string;
      /** The one of this node with that id. */
      readonly connection: LocalConnection | undefined;
    };

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
  /** What telemetry remembers from sending to routing; nobody else reads or writes it. */
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

/** A publication that the cluster hands to this node. */
export interface ArrivedPublication {
  readonly to: Addressee;
  /** Bytes of its frame. */
  readonly size: number;
  /** Its place in the log, if it is kept. */
  readonly position: Position | undefined;
  readonly trace: string | undefined;
}

/** What a client was given of what it missed, or of what waited for it. */
export interface ReplaySummary {
  readonly entries: number;
  /** The gaps it was told of. */
  readonly resets: readonly ResetReason[];
}

/** What a comparison of this node with the cluster found. */
export type ConsistencySummary = Pick<
  ConsistencyReport,
  'checked' | 'found' | 'repairs' | 'unknown'
>;

/** What a node can be asked at any time; each answer costs next to nothing. */
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

/** What is told of clients that come and go. */
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
  /** Within {@link opening}: a client is given what it missed, or what waits for it. */
  replaying(connectionId: string, work: () => Promise<ReplaySummary>): Promise<ReplaySummary>;
  /** A client whose stream goes on was told of a gap in it. */
  reset(reason: ResetReason): void;
  /** What the application does with a connection; it continues the opening. */
  handling<T>(connection: SseConnection, work: () => T): T;
  /** A connection takes nothing any more. Of one that was not {@link admitted}, nothing is told. */
  stopped(connection: LocalConnection, reason: CloseReason): void;
}

/** What is told of events on their way. */
export interface EventTelemetry {
  /** A send to one connection. */
  sending<R extends SendResult | Promise<SendResult>>(subject: SendSubject, work: () => R): R;
  /** Within {@link sending}: the cluster is asked to deliver, retries included. `work` is given what the message carries. */
  routing(
    subject: SendSubject,
    work: (trace: string | undefined) => Promise<SendResult>,
  ): Promise<SendResult>;
  /** A broadcast on this node alone. */
  broadcasting(event: string, work: () => FanOut): FanOut;
  /** A publication; to the cluster it is a broadcast, of a source it is the end. `work` is given what it carries. */
  publishing<R extends BroadcastReceipt | PublishReceipt>(
    to: Audience,
    event: string,
    work: (trace: string | undefined) => Promise<R>,
  ): Promise<R>;
  /** An event of a resumable source is put into the log. `work` is given what it carries. */
  appending(event: string, work: (trace: string | undefined) => Promise<void>): Promise<void>;
  /** What became of an event for one connection. */
  sent(scope: 'connection' | 'source', event: string, outcome: Outcome): void;
  /** A connection of this node takes a message. */
  delivering(message: ArrivedMessage, work: () => LocalResult): LocalResult;
  /** The connections of this node take a publication. */
  fanningOut(publication: ArrivedPublication, work: () => FanOut): FanOut;
}

/** What is told of the node's care for itself. */
export interface MaintenanceTelemetry {
  /** One run of a cleanup; `work` answers how many it removed. */
  cleaning<R extends number | Promise<number>>(kind: CleanupKind, work: () => R): R;
  /** One comparison of this node with the cluster. */
  checking<S extends ConsistencySummary>(work: () => Promise<S>): Promise<S>;
  /** The node sends its clients away. */
  draining(work: () => Promise<void>): Promise<void>;
  /** Things were found that nobody owns any more. */
  leaked(kind: string, count: number): void;
  /** A failed call is about to be repeated. */
  retrying(kind: OperationKind, error: unknown): void;
  /** The policy refused a call or gave it up. */
  refusing(kind: OperationKind, reason: RefusalReason): void;
  /** Redis answered a command, or failed it. @param ms milliseconds it took */
  commanded(command: string, ms: number, error?: unknown): void;
}

/**
 * What the parts of a node tell about their work. Spans are short: none lasts as long as a stream, and a broadcast makes
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
}

export const Telemetry: ServiceIdentifier<Telemetry> = Symbol.for('distributed-sse/Telemetry');
