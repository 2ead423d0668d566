/** Event name to data type. Untyped by default. */
export type EventMap = Record<string, unknown>;

/** Settings of one event. */
export interface EventOptions {
  /**
   * Becomes the client's `Last-Event-ID`; for applications with a resume scheme of their own. Up to 256 bytes; CR, LF and
   * NUL are refused with `INVALID_EVENT_ID`. Published events get the log's id instead.
   */
  readonly id?: string;
  /** The client's reconnection time from now on, in whole milliseconds. */
  readonly retry?: number;
}

/** One event as a source yields it. */
export interface SseEvent extends EventOptions {
  /** Default `message`. */
  readonly event?: string;
  /** A string is sent as it is, any other value as JSON. */
  readonly data: unknown;
}
