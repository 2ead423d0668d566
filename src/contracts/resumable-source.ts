/** What the handler of a resumable endpoint is given instead of a connection: it runs for all that follow, or for none. */
export interface ResumableSource {
  /** Aborts when its events cannot be given to anybody any more: its node closes, or lost its claim. */
  readonly signal: AbortSignal;
}
