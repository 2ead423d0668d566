import type { Delivery } from '../contracts/connection-store.js';

/** Most message ids remembered per connection: what comes to a busy one while a lost connection to Redis is restored. */
export const MAX_REMEMBERED = 4_096;
/** How long one is remembered, in milliseconds: longer than any retry of a send takes. */
export const REMEMBER_MS = 60_000;

/** What became of the messages a connection took lately, so that a repeated one is answered and not written again. */
export class MessageMemory {
  readonly #answers = new Map<string, { readonly delivery: Delivery; readonly at: number }>();

  get size(): number {
    return this.#answers.size;
  }

  /** The answer given to this message id, if it was taken within the last minute. */
  recall(messageId: string, now: number): Delivery | undefined {
    const answer = this.#answers.get(messageId);
    return answer && now - answer.at <= REMEMBER_MS ? answer.delivery : undefined;
  }

  remember(messageId: string, delivery: Delivery, now: number): void {
    this.#answers.delete(messageId);
    this.#answers.set(messageId, { delivery, at: now });
    for (const [oldest, { at }] of this.#answers) {
      if (this.#answers.size <= MAX_REMEMBERED && now - at <= REMEMBER_MS) return;
      this.#answers.delete(oldest);
    }
  }
}
