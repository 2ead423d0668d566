/** One reason for which the library closes connections. */
interface Behaviour {
  /** The node closes many connections for it at once. Each client gets a reconnection time of its own in `sse.closed`. */
  readonly spread: boolean;
}

/** What follows from each reason. */
const CLOSE_REASONS = {
  client: { spread: false },
  superseded: { spread: false },
  slow: { spread: false },
  stale: { spread: false },
  idle: { spread: true },
  revoked: { spread: true },
  expired: { spread: true },
  'max-age': { spread: true },
  completed: { spread: false },
  failed: { spread: false },
  draining: { spread: true },
  shutdown: { spread: true },
  closed: { spread: false },
} as const satisfies Record<string, Behaviour>;

/**
 * Why the library itself closes a connection.
 *
 * | reason | cause | does the client come back? |
 * |---|---|---|
 * | `client` | the client went away | as it likes |
 * | `superseded` | a newer connection with the same id took over | no |
 * | `slow` | the send buffer overflowed under the `disconnect` policy | yes |
 * | `stale` | the socket accepted no byte for `connection.timeout` although bytes were waiting, or a client that confirms has vanished | yes |
 * | `idle` | removed by the cleanup: no byte accepted for `cleanup.connectionTtl` | yes |
 * | `revoked` | the application took the rights of the client away | with new credentials |
 * | `expired` | the credentials of the client ran out | with new credentials |
 * | `max-age` | reached `connection.maxAge` | yes |
 * | `completed` | the handler's source ended | no |
 * | `failed` | the handler or its source threw, or no node runs the resumable source any more | yes, later each time |
 * | `draining` | the node drains | yes |
 * | `shutdown` | the service was closed without a drain | yes |
 * | `closed` | closed by the application without a reason of its own | yes |
 */
export type LibraryCloseReason = keyof typeof CLOSE_REASONS;

/** Whether the reason is one of the library's, not one that an application named. */
export function isLibraryReason(reason: string): reason is LibraryCloseReason {
  return Object.hasOwn(CLOSE_REASONS, reason);
}

/** Whether clients that are closed for this reason must not all come back at once. */
export function isSpread(reason: string): boolean {
  return isLibraryReason(reason) && CLOSE_REASONS[reason].spread;
}
