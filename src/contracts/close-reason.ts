/** Why the library itself closes a connection. */
export type LibraryCloseReason =
  /** The client went away. */
  | 'client'
  /** A newer connection with the same id took over. */
  | 'superseded'
  /** The outbox overflowed under the `disconnect` policy. */
  | 'slow'
  /** The socket took no byte for `connection.timeout` although bytes were waiting. */
  | 'stale'
  /** Removed by the cleanup: no byte accepted for `cleanup.connectionTtl`. */
  | 'expired'
  /** Reached `connection.maxAge`. */
  | 'max-age'
  /** The handler's source ended. */
  | 'completed'
  /** The handler or its source threw, or nobody runs the resumable source any more. */
  | 'failed'
  /**
   * This node missed events that nobody keeps, or could not reach the cluster when the connection opened: the client is
   * to come back and get, or be told, what it missed.
   */
  | 'gap'
  /** The node drains. */
  | 'draining'
  /** The service was closed without a drain. */
  | 'shutdown'
  /** Closed by the application without a reason of its own. */
  | 'closed';

/**
 * Why a connection closed. An application may name its own reason: 1 to 64 characters of `A-Z a-z 0-9 . _ -`; the client
 * reads it in its last event, `sse.closed`.
 */
export type CloseReason = LibraryCloseReason | (string & {});
