import { pump, type PumpTarget } from '../connection/pump.js';
import { SourceItemReader } from '../connection/source-item-reader.js';
import { sourceOf } from '../connection/source.js';
import { SseError } from '../errors/sse-error.js';

/** Where the events of a run go. */
export interface SourceSink {
  /** Appends an event; resolves when it is kept. @throws SseError */
  append(event: string, data: unknown, number: number): Promise<void>;
}

/** One run of a resumable source: pulls its items one after the other, each kept before the next is asked for. */
export class SourceRun implements PumpTarget {
  readonly #abort = new AbortController();
  readonly #reader = new SourceItemReader();
  #appending: Promise<void> = Promise.resolve();
  #number = 0;

  constructor(
    private readonly sink: SourceSink,
    private readonly maxEntries: number,
    private readonly logFailure: (error: unknown) => void,
  ) {}

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Gives it up. */
  abort(): void {
    this.#abort.abort();
  }

  /** Runs the source to its end. Rejects with its failure, or when its events cannot be kept. */
  async run(start: () => unknown): Promise<void> {
    const begun = await this.#begin(start);
    if (begun !== undefined) await pump(sourceOf(begun.source), this);
    await this.#appending;
  }

  async drained(): Promise<void> {
    await this.#appending;
  }

  take(item: unknown): void {
    const read = this.#reader.read(item);
    if (read === undefined) return;
    this.#number += 1;
    const number = this.#number;
    if (number > this.maxEntries) {
      throw new SseError(
        'INVALID_SOURCE',
        `a resumable source has at most ${this.maxEntries} events (source.maxEntries); split it`,
      );
    }
    const { event = 'message', data } = read;
    this.#appending = this.#appending.then(() => this.sink.append(event, data, number));
    // A failure is met by whoever waits for it; nobody may be waiting yet.
    this.#appending.catch(() => this.abort());
  }

  onLateFailure(error: unknown): void {
    this.logFailure(error);
  }

  /** `undefined` when it was given up before it had begun: nobody waits for one that may never begin. */
  async #begin(start: () => unknown): Promise<{ readonly source: unknown } | undefined> {
    const starting = Promise.resolve(start()).then((source: unknown) => ({ source }));
    const aborted = new Promise<undefined>(resolve => {
      this.signal.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    const begun = await Promise.race([starting, aborted]);
    if (begun === undefined) starting.catch((error: unknown) => this.onLateFailure(error));
    return begun;
  }
}
