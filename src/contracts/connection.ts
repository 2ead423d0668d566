import type { LibraryCloseReason } from '../close-reasons.js';
import type { EventMap, EventOptions, LocalReceipt, ResetReason } from './events.js';

/**
 * Life of a connection: `opening` (holds the events that arrive until its replay is written), `open`, `draining` (accepts
 * no more events and waits for its last bytes to leave), `closed`.
 */
export type ConnectionState =
  | { readonly kind: 'opening' }
  | { readonly kind: 'open' }
  | { readonly kind: 'draining'; readonly reason: CloseReason }
  | { readonly kind: 'closed'; readonly reason: CloseReason };

/** One client, as applications see it. Obtained from `SseService.createConnection`, `ctx.sse.connect` or a handler's argument. */
export interface SseConnection<Events extends EventMap = EventMap> {
  /** The connection id as the cluster knows it: `<user>/<id>` for the connection of a user. */
  readonly id: string;
  /** Who the connection belongs to; `undefined` where no guard named a user. */
  readonly user: string | undefined;
  /**
   * Grows with each registration of this id in the cluster: lets an application ignore late messages about an older connection.
   * `undefined` until the cluster has registered the connection, and for a connection that opened while the cluster could
   * not be reached.
   */
  readonly fencingToken: number | undefined;
  readonly state: ConnectionState;
  /** The topics it is subscribed to now. */
  readonly topics: ReadonlySet<string>;
  /** What the client sent as `Last-Event-ID` or `lastEventId`, at most 256 characters; not necessarily one of our cursors. */
  readonly lastEventId: string | undefined;
  /**
   * Aborts when the connection accepts no more events. The abort reason is the close reason. Listeners run in the
   * asynchronous context in which the signal was first read.
   */
  readonly signal: AbortSignal;
  /** Resolves when the socket is gone. Never rejects. */
  readonly closed: Promise<CloseReason>;
  /** Bytes accepted for this client that its socket has not accepted yet. */
  readonly sendBufferBytes: number;

  /**
   * Sends an event to this client alone. Synchronous and ordered.
   * @throws SseError `INVALID_EVENT_NAME`, `INVALID_EVENT_ID`, `INVALID_RETRY`, `NOT_SERIALIZABLE`; nothing was sent.
   */
  send<Name extends keyof Events & string>(event: Name, data: Events[Name], options?: EventOptions): LocalReceipt;
  /** Sends a comment, which clients ignore; line breaks in it start further comment lines. */
  comment(text: string): void;
  /** Resolves when the client can accept more, or the connection has stopped; at once if that is so already. Never rejects. */
  drained(): Promise<void>;
  /**
   * Sends what a source yields until it ends or the connection stops, and then cancels it: an async iterable, an iterable,
   * a Node `Readable`, a web `ReadableStream`, or anything with `subscribe`. All but the last are pulled only as fast as
   * the client reads, and share `sendBuffer.slice` of each turn of the event loop. Promises in an iterable are awaited. An item `{ event?, data, id?, retry? }` is an event, bytes are text, anything else is the data of a
   * `message`. The connection stays open afterwards. Rejects with the source's failure, or with SseError
   * `INVALID_SOURCE` and what {@link send} throws.
   */
  pipe(source: unknown): Promise<void>;
  /** Ends the stream with a last event `sse.closed` that carries the reason. Does nothing when it is closing already. */
  close(reason?: CloseReason): void;
}

/**
 * Why a connection closed. An application may name its own reason: 1 to 64 characters of `A-Z a-z 0-9 . _ -`; the client
 * reads it in its last event, `sse.closed`.
 */
export type CloseReason = LibraryCloseReason | (string & {});

/** The data of the event `sse.reset`. */
export interface Reset {
  readonly reason: ResetReason;
  /** The topics with the gap; `*` stands for what is addressed to everyone. */
  readonly topics: readonly string[];
  /** The id at which the stream goes on. */
  readonly resumedFrom: string;
}

/** A client that got `sse.reset`; the application may send it what it needs instead of the missing events. */
export type ResetClient = Pick<SseConnection, 'id' | 'topics' | 'send'>;

/**
 * Called when a client got `sse.reset`, to send it what it needs instead of the missing events: a snapshot. For a client
 * that comes back, these events stand before all replayed ones: the replay waits for the hook, up to 10 s. In a stream that
 * goes on, it is called once the client has taken the reset and all that waited; a client that got several resets until then
 * has one call, with the topics of all. Two calls for one connection never overlap. It runs in the asynchronous context of
 * the request that connected. A failure of the hook is logged and changes nothing.
 */
export type ResetHook = (client: ResetClient, reset: Reset) => void | Promise<void>;

/** What a sink reports to the connection that writes to it. */
export interface SinkListener {
  /** The socket can accept more bytes. */
  onDrain(): void;
  /**
   * The socket is gone, for any reason. Called exactly once, also when it was gone before
   * {@link ConnectionSink.attach}; then asynchronously.
   */
  onClose(): void;
}

/**
 * The socket of one client, as small as it can be, so that all code above it can be tested without a socket.
 *
 * Calls come in the order `attach`, `open`, any number of `write`, then `end` or `destroy`. After either, or after
 * `onClose`, further calls do nothing. No method throws for a socket that is gone.
 */
export interface ConnectionSink {
  /** Whether the socket is already gone. */
  readonly closed: boolean;
  /** Bytes accepted by `write` that the operating system has not accepted yet. */
  readonly pendingBytes: number;
  /**
   * Whether the operating system accepts bytes only after the call of `write`, as with TLS and HTTP/2. Then pending bytes
   * alone do not mean that the client is slow. Default false.
   */
  readonly asynchronous?: boolean;
  /**
   * Encodes the bytes of one write for the protocol, for example as one chunk of HTTP/1.1; `write` gets the result. Sinks
   * with the same function share it. Read after `open`. Default: the bytes as they are.
   */
  readonly encode?: ((bytes: Buffer) => Buffer) | undefined;
  /** Sets the listener of drain and close. Called once, before every other method. */
  attach(listener: SinkListener): void;
  /** Sends the response head: status 200 and the headers of an event stream. */
  open(): void;
  /** Writes whole frames. Returns false to ask for a pause until `onDrain`; the bytes were accepted nevertheless. */
  write(bytes: Buffer): boolean;
  /**
   * Asks the client to send further requests over another connection, while this stream goes on. Only a protocol with many
   * streams on one connection has it.
   */
  goAway?(): void;
  /** Ends the response cleanly once everything accepted has left. */
  end(): void;
  /** Cuts the socket at once. */
  destroy(): void;
}
