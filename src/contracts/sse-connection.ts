import type { CloseReason } from './close-reason.js';
import type { LocalReceipt } from './receipt.js';
import type { EventMap, EventOptions } from './sse-event.js';

/**
 * Life of a connection: `opening` (registered, holds what arrives, head not yet complete), `open`, `draining` (takes
 * nothing more, waits for its last bytes to leave), `closed`.
 */
export type ConnectionState =
  | { readonly kind: 'opening' }
  | { readonly kind: 'open' }
  | { readonly kind: 'draining'; readonly reason: CloseReason }
  | { readonly kind: 'closed'; readonly reason: CloseReason };

/** One client, as applications see it. Obtained from `SseService.createConnection`, `ctx.sse.connect` or a handler's argument. */
export interface SseConnection<Events extends EventMap = EventMap> {
  /** The connection id. */
  readonly id: string;
  /** Grows with each registration of this id in the cluster: lets an application ignore late news of an older connection. */
  readonly fence: number;
  readonly state: ConnectionState;
  /** The topics it is subscribed to now. */
  readonly topics: ReadonlySet<string>;
  /** What the client sent as `Last-Event-ID` or `lastEventId`, at most 256 characters; not necessarily one of our cursors. */
  readonly lastEventId: string | undefined;
  /** Aborts when the connection stops taking events, with the close reason as its reason. */
  readonly signal: AbortSignal;
  /** Settles when the socket is gone. Never rejects. */
  readonly closed: Promise<CloseReason>;
  /** Bytes accepted for this client that its socket has not taken yet. */
  readonly outboxBytes: number;

  /**
   * Sends an event to this client alone. Synchronous and ordered.
   * @throws SseError `INVALID_EVENT_NAME`, `INVALID_EVENT_ID`, `INVALID_RETRY`, `NOT_SERIALIZABLE`; nothing was sent.
   */
  send<Name extends keyof Events & string>(
    event: Name,
    data: Events[Name],
    options?: EventOptions,
  ): LocalReceipt;
  /** Sends a comment, which clients ignore; line breaks in it start further comment lines. */
  comment(text: string): void;
  /** Resolves when the client can take more, or the connection has closed; at once if it is so already. Never rejects. */
  drained(): Promise<void>;
  /**
   * Sends what a source yields until it ends or the connection stops, and then cancels it: an async iterable, an iterable,
   * a Node `Readable`, a web `ReadableStream`, or anything with `subscribe`. All but the last are pulled only as fast as
   * the client reads. An item `{ event?, data, id?, retry? }` is an event, bytes are text, anything else is the data of a
   * `message`. The connection stays open afterwards. Rejects with the source's failure, or with SseError
   * `INVALID_SOURCE` and what {@link send} throws.
   */
  pipe(source: unknown): Promise<void>;
  /** Ends the stream with a last event `sse.closed` that carries the reason. Does nothing when it is closing already. */
  close(reason?: CloseReason): void;
}
