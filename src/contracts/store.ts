import type { ServiceIdentifier } from 'inversify';
import type { CloseReason, SseConnection } from './connection.js';
import type { Cursor, FanOut, Frame, Gap, LocalResult, Position } from './events.js';

/** The results of the messages of the last minute. */
export interface MessageResults {
  /** @param now by the monotonic clock */
  recall(messageId: string, now: number): LocalResult | undefined;
}

/** An event for one connection. */
export interface DirectMessage {
  readonly messageId: string;
  readonly frame: Frame;
}

/** A connection as the store and the service handle it. */
export interface LocalConnection extends SseConnection {
  /** Names this object among all connections of this process; 1 to 16 characters. */
  readonly token: string;
  /** Grows with each connection of this process. */
  readonly ordinal: number;
  /** Milliseconds of `performance.now()` when its client was admitted: a step of the wall clock ages nobody. */
  readonly openedAt: number;
  /** Milliseconds of `performance.now()` when its socket last accepted bytes. */
  readonly lastProgressAt: number;
  /** `ids: 'application'`: the client's last id is the application's, and the connection follows no topic. */
  readonly ownIds: boolean;
  /** Up to here its client was given every entry of its topics. */
  readonly cursor: Cursor | undefined;
  /** What became of its latest event, as its buffers show; `undefined` when there was none. */
  readonly lastOutcome: LocalResult['outcome'] | undefined;
  /** Whether a source runs, see `pipe`. */
  readonly piping: boolean;
  /** What telemetry remembers of its opening. Only telemetry reads and writes it. */
  origin?: unknown;
  /** Writes a frame at once, behind the frames that wait. */
  deliver(frame: Frame): LocalResult;
  /** As {@link deliver}, but a message id of the last minute gets its first result again, as `duplicate`, and is not written again. */
  deliverOnce(messageId: string, frame: Frame): LocalResult;
  /** As {@link deliverOnce} for one message after the other, in one write where they are small. One result for each. */
  deliverAll(messages: readonly DirectMessage[]): readonly LocalResult[];
  /** What {@link deliverOnce} remembers, also after the connection has stopped; `undefined` when there was no message. */
  readonly results: MessageResults | undefined;
  /**
   * Accepts a frame. All frames of one tick leave in one write: at the end of the tick or, when many connections have
   * frames to write, a few turns of the event loop later. {@link deliver} writes these frames first, so order is kept.
   */
  enqueue(frame: Frame): LocalResult;
  /**
   * Gives an open connection, with ids of the log, its present position: the client has every entry of its topics up to there.
   * Returns false when the client has that position as its last id, or no position at all.
   * @param frame the event that carries the position as its id
   */
  moveTo(position: Cursor, frame: Frame): boolean;
  /** Whether the client was given every entry of its topics up to a position. */
  hasReached(position: Position): boolean;
  /** Whether the send buffer refused the entry at a position, as far as its neighbours show. */
  wasRefused(position: Position): boolean;
  /** As `SseConnection.close`, but with `last` as the last event; an empty frame when the client has got its last event. */
  close(reason?: CloseReason, last?: Frame): void;
  /** Gives the client the event `sse.reset`, in order with its events, if it misses entries of this gap. */
  reportGap(gap: Gap): void;
  /** As `ConnectionSink.goAway`, at the beginning of a drain. */
  goAway(): void;
  /** Cuts the socket without a last event; for clients that do not read. Does nothing when the connection has closed. */
  cut(reason: CloseReason): void;
  /** Only the store calls these two methods: they keep `topics` in step with its index. */
  addTopic(topic: string): void;
  removeTopic(topic: string): void;
}

/**
 * The connections of one node, by id and by topic. Owns no socket and closes nothing.
 *
 * A connection is added while `opening`. From then on it gets the frames of fan-outs and holds them. It becomes the owner
 * of its id by {@link promote}, once the cluster has registered it. So a connection that is refused leaves the present
 * owner untouched. All calls are synchronous; none throws because of a single connection.
 */
export interface ConnectionStore {
  /** Connections that own their id. */
  readonly size: number;
  /** Connections that were added and do not own their id yet. */
  readonly opening: number;
  /** Adds a connection and indexes its topics. Adding the same one twice changes nothing. */
  add(connection: LocalConnection): void;
  /** Makes an added connection the owner of its id; returns the owner it displaces, which is no longer stored. */
  promote(connection: LocalConnection): LocalConnection | undefined;
  /** Removes exactly this object, never another one with the same id. Returns whether it was stored. */
  remove(connection: LocalConnection): boolean;
  /** The owner of the id. */
  get(connectionId: string): LocalConnection | undefined;
  /** The connection with that id and token, owner or opening. */
  find(connectionId: string, token: string): LocalConnection | undefined;
  /** Every stored connection, opening ones included, oldest owner first. */
  connections(): Iterable<LocalConnection>;
  /** Subscribes a stored connection. Returns false when it was subscribed already. */
  subscribe(connection: LocalConnection, topic: string): boolean;
  /** Unsubscribes a stored connection. Returns whether it was subscribed. */
  unsubscribe(connection: LocalConnection, topic: string): boolean;
  /** The subscribers of a topic, opening ones included. */
  subscribers(topic: string): Iterable<LocalConnection>;
  /** Topics with at least one subscriber here. */
  topics(): Iterable<string>;
  /** Gives one frame to every stored connection. */
  deliverToAll(frame: Frame): FanOut;
  /** Gives one frame to the subscribers of a topic. */
  deliverToTopic(topic: string, frame: Frame): FanOut;
}

export const ConnectionStore: ServiceIdentifier<ConnectionStore> = Symbol.for('distributed-sse/ConnectionStore');
