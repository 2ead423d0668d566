/** Looks for things of one kind that nobody owns any more. */
export interface LeakProbe<T = unknown> {
  /** Name for logs and metrics. */
  readonly kind: string;
  /** What looks like a leak now; it is one if it still does at the next look. The same leak is the same value. */
  suspects(): readonly T[];
  /** Lets go of one of its suspects. */
  release(leak: T): void;
}
