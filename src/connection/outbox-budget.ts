/** Bytes that wait for slow clients in the whole process, against one bound. */
export class OutboxBudget {
  #used = 0;

  /** @param limit `outbox.maxTotalBytes` */
  constructor(readonly limit: number) {}

  /** Bytes waiting now. */
  get used(): number {
    return this.#used;
  }

  /** Whether `bytes` more stay within the bound. */
  admits(bytes: number): boolean {
    return this.#used + bytes <= this.limit;
  }

  /** Counts bytes that began to wait; a negative number, bytes that no longer do. */
  add(bytes: number): void {
    this.#used += bytes;
  }
}
