import { collectedMemory } from '../servers/collected-memory.js';
import { answerQuestions, ownProcessorTime } from './answer-questions.js';
import { inFlight } from './in-flight.js';

/** One piece of work of each kind; resolves when it is done. */
export type Work = Readonly<Record<string, (number: number) => Promise<unknown>>>;

/** Does the work that the benchmark asks for, and reports when this process had the events of others. */
export function offerWork(work: Work, arrivals: Arrivals, others: Parameters<typeof answerQuestions>[0] = {}): void {
  let last = 0;
  const one = async (what: string): Promise<void> => {
    last += 1;
    await work[what]?.(last);
  };
  answerQuestions({
    /** Once; the time of the call. */
    once: async ({ what }) => {
      const calledAt = Number(process.hrtime.bigint());
      await one(what);
      return calledAt;
    },
    /** So many, fifty at a time; the time of the first call. */
    many: async ({ what, count }) => {
      const startedAt = Number(process.hrtime.bigint());
      await inFlight(count, () => one(what));
      return startedAt;
    },
    now: () => Number(process.hrtime.bigint()),
    arrivals: () => arrivals.take(),
    arrived: ({ count }) => arrivals.reached(count),
    cpu: ownProcessorTime,
    memory: collectedMemory,
    ...others,
  });
}

/** When events came to this process, in nanoseconds of the monotonic clock. */
export class Arrivals {
  #times: number[] = [];
  #awaited: { readonly count: number; readonly resolve: (at: number) => void } | undefined;

  note(): void {
    const at = Number(process.hrtime.bigint());
    this.#times.push(at);
    if (this.#times.length === this.#awaited?.count) this.#awaited.resolve(at);
  }

  /** Those since the last time this was asked. */
  take(): readonly number[] {
    return this.#times.splice(0);
  }

  /** Resolves to when that many had come since the last call. */
  reached(count: number): Promise<number> {
    const at = this.#times[count - 1];
    if (at !== undefined) return Promise.resolve(at);
    return new Promise(resolve => (this.#awaited = { count, resolve }));
  }
}
