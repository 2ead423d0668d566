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

  add(bytes: number): void {
    this.#used += bytes;
  }

  release(bytes: number): void {
    this.#used -= bytes;
  }
}
