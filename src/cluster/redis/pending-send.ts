import type { Delivery } from '../../contracts/connection-store.js';
import type { SendResult } from '../../contracts/receipt.js';
import { nodeIdOf } from '../wire/incarnation.js';

/** What became of one attempt, as far as known. */
type Attempt =
  /** It may have reached an owner, `inc` when that is known. */
  | { readonly is: 'open'; readonly inc?: string }
  /** It certainly reached nobody. */
  | { readonly is: 'unsent'; readonly because: 'not-connected' | 'unavailable' }
  /** Its owner had the connection no more. */
  | { readonly is: 'closed' };

/** One send that waits for its owner: the attempts so far, and what can be concluded from them. */
export class PendingSend {
  readonly #startedAt = performance.now();
  readonly #attempts: Attempt[] = [];
  #answer: SendResult | 'again' | undefined;
  #ended = false;
  #wake: (() => void) | undefined;

  /** @param deadline milliseconds from now */
  constructor(private readonly deadline: number) {}

  /** Whether there is no time left. */
  get over(): boolean {
    return this.#ended || performance.now() - this.#startedAt >= this.deadline;
  }

  /** Whether an attempt may have reached an owner without an answer. */
  get doubtful(): boolean {
    return this.#attempts.some(({ is }) => is === 'open');
  }

  onSent(attempt: number): void {
    this.#attempts[attempt] ??= { is: 'open' };
  }

  onRouted(attempt: number, inc: string): void {
    // Its answer may have been faster.
    if (this.#attempts[attempt]?.is === 'open') this.#attempts[attempt] = { is: 'open', inc };
  }

  onUnsent(attempt: number, because: 'not-connected' | 'unavailable'): void {
    this.#attempts[attempt] = { is: 'unsent', because };
  }

  /** The owner's answer to an attempt; `from` is its incarnation. */
  onAnswer(attempt: number, delivery: Delivery, from: string): void {
    if (this.#attempts[attempt] === undefined) return;
    if (delivery.outcome === 'closed') {
      const again = !this.#attempts.some(({ is }) => is === 'closed');
      this.#attempts[attempt] = { is: 'closed' };
      // It may be elsewhere by now; that is looked up once.
      this.#settle(again ? 'again' : this.conclusion());
      return;
    }
    const nodeId = nodeIdOf(from);
    this.#settle(
      delivery.outcome === 'rejected'
        ? { outcome: 'rejected', code: delivery.code, nodeId }
        : { outcome: delivery.outcome, nodeId },
    );
  }

  /** The owner died without an answer to what only it may have got. */
  onDead(inc: string): void {
    const waiting = this.#attempts.filter(({ is }) => is === 'open');
    if (waiting.length === 0) return;
    if (waiting.every(attempt => attempt.is === 'open' && attempt.inc === inc)) {
      this.#settle({ outcome: 'unknown' });
    }
  }

  /** The answer, as soon as it is there; `undefined` when it is not `at` milliseconds after the beginning, or in time. */
  async answerBy(at: number): Promise<SendResult | 'again' | undefined> {
    const wait = Math.min(at, this.deadline) - (performance.now() - this.#startedAt);
    if (this.#answer === undefined && !this.#ended && wait > 0) {
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, wait);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    const answer = this.#answer;
    if (answer === 'again') this.#answer = undefined;
    return answer;
  }

  /** What is certain when nothing more is to come. */
  conclusion(): SendResult {
    if (this.doubtful) return { outcome: 'unknown' };
    const last = this.#attempts.at(-1);
    return { outcome: last?.is === 'unsent' ? last.because : 'not-connected' };
  }

  /** Nothing more will be waited for. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  #settle(answer: SendResult | 'again'): void {
    // The first final answer stands.
    if (this.#answer !== undefined && this.#answer !== 'again') return;
    this.#answer = answer;
    this.#wake?.();
  }
}
