/** What a sink reports to the connection that writes to it. */
export interface SinkListener {
  /** The socket has taken enough that writing may go on. */
  onDrain(): void;
  /**
   * The socket is gone, however that came about. Called exactly once, also when it was gone before
   * {@link ConnectionSink.attach}; then asynchronously.
   */
  onClose(): void;
}

/**
 * The socket of one client, as small as it can be. Everything above it is testable without a socket.
 *
 * Calls come in the order `attach`, `open`, any number of `write`, then `end` or `destroy`. After either, or after
 * `onClose`, further calls do nothing. No method throws for a socket that is gone.
 */
export interface ConnectionSink {
  /** Whether the socket is already gone. */
  readonly closed: boolean;
  /** Bytes accepted by `write` that the operating system has not taken yet. */
  readonly pendingBytes: number;
  /** Names who is told of drain and close. Called once, before anything else. */
  attach(listener: SinkListener): void;
  /** Sends the response head: status 200 and the headers of an event stream. */
  open(): void;
  /** Writes whole frames. False asks to wait for `onDrain`; the bytes were accepted all the same. */
  write(bytes: Buffer): boolean;
  /** Ends the response cleanly once everything accepted has left. */
  end(): void;
  /** Cuts the socket at once. */
  destroy(): void;
}
