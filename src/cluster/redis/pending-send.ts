import type { LocalResult, SendResult, Unavailable } from '../../contracts/events.js';
import { whenOver } from '../../time.js';
import { nodeIdOf } from './frames.js';

/** Why an attempt certainly reached no node. */
export type Unsent = Unavailable | { readonly outcome: 'not-connected' };

/** The state of one attempt, as far as known. */
type Attempt =
  /** It may have reached an owner, `inc` when that is known. `without`: nodes that said they do not have the connection. */
  | { readonly kind: 'open'; readonly inc?: string; readonly without?: readonly string[] }
  /** It certainly reached no node. */
  | { readonly kind: 'unsent'; readonly because: Unsent }
  /** Its owner did not have the connection any more. */
  | { readonly kind: 'closed' };

/** Nodes that are remembered for one attempt: the owner's answer is at most a few milliseconds faster than the script's. */
const MAX_WITHOUT = 8;

/** One send that waits for its owner: the attempts so far, and the outcome that follows from them. */
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
    return this.#attempts.some(({ kind }) => kind === 'open');
  }

  onSent(attempt: number): void {
    this.#attempts[attempt] ??= { kind: 'open' };
  }

  onRouted(attempt: number, inc: string): void {
    const state = this.#attempts[attempt];
    if (state?.kind !== 'open') return;
    this.#attempts[attempt] = { kind: 'open', inc };
    // Its answer may have been faster.
    if (state.without?.includes(inc) === true) this.#onClosed(attempt);
  }

  onUnsent(attempt: number, because: Unsent): void {
    this.#attempts[attempt] = { kind: 'unsent', because };
  }

  /** The owner's answer to an attempt; `from` is its incarnation. */
  onAnswer(attempt: number, result: LocalResult, from: string): void {
    const state = this.#attempts[attempt];
    if (state === undefined) return;
    if (result.outcome === 'not-connected') {
      if (state.kind !== 'open') return;
      // Of any other node it is no news: a recorded message may have been published there.
      if (state.inc === from) this.#onClosed(attempt);
      else if (state.inc === undefined) {
        this.#attempts[attempt] = { kind: 'open', without: [...(state.without ?? []), from].slice(-MAX_WITHOUT) };
      }
      return;
    }
    const nodeId = nodeIdOf(from);
    this.#conclude(
      result.outcome === 'rejected'
        ? { outcome: 'rejected', code: result.code, nodeId }
        : { outcome: result.outcome, nodeId },
    );
  }

  /** The owner did not have the connection any more. Another node may own it by now; that is looked up once. */
  #onClosed(attempt: number): void {
    const again = !this.#attempts.some(({ kind }) => kind === 'closed');
    this.#attempts[attempt] = { kind: 'closed' };
    if (again) this.#conclude('again');
    else if (!this.doubtful) this.#conclude(this.#conclusion());
  }

  /** A node died. The outcome is unknown when every attempt without an answer was dispatched to it. */
  onDead(inc: string): void {
    const waiting = this.#attempts.filter(({ kind }) => kind === 'open');
    if (waiting.length === 0) return;
    if (waiting.every(attempt => attempt.kind === 'open' && attempt.inc === inc)) {
      this.#conclude({ outcome: 'unknown', nodeId: nodeIdOf(inc) });
    }
  }

  /**
   * The owner's answer, as soon as it is there. `undefined` when there is none `at` milliseconds after the beginning, or at
   * the deadline. `again`: the owner did not have the connection, so it is looked up once more.
   */
  async answerBy(at: number): Promise<SendResult | 'again' | undefined> {
    const wait = Math.min(at, this.deadline) - (performance.now() - this.#startedAt);
    if (this.#answer === undefined && !this.#ended && wait > 0) {
      await new Promise<void>(resolve => {
        const stop = whenOver(resolve, wait);
        this.#wake = () => {
          stop();
          resolve();
        };
      });
      this.#wake = undefined;
    }
    const answer = this.#answer;
    if (answer === 'again') this.#answer = undefined;
    return answer;
  }

  /** The outcome once every attempt was made. When one owner did not have the connection, the answers to the others decide. */
  async outcome(): Promise<SendResult> {
    let last = await this.answerBy(Infinity);
    if (last === 'again' && this.doubtful) last = await this.answerBy(Infinity);
    return last === undefined || last === 'again' ? this.#conclusion() : last;
  }

  /** The outcome when no more answers come. */
  #conclusion(): SendResult {
    if (this.doubtful) return { outcome: 'unknown', ...this.#asked() };
    const last = this.#attempts.at(-1);
    return last?.kind === 'unsent' ? last.because : { outcome: 'not-connected' };
  }

  /** The node that was asked last and did not answer. */
  #asked(): { readonly nodeId?: string } {
    const open = this.#attempts.findLast(attempt => attempt.kind === 'open');
    return open?.kind === 'open' && open.inc !== undefined ? { nodeId: nodeIdOf(open.inc) } : {};
  }

  /** Ends the wait. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  #conclude(answer: SendResult | 'again'): void {
    // The first final answer stands.
    if (this.#answer !== undefined && this.#answer !== 'again') return;
    this.#answer = answer;
    this.#wake?.();
  }
}
