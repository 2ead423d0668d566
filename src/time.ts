/**
 * What this library does with time: a periodic job, a bound on a wait, a repeated step.
 * No timer of a periodic job keeps the process alive.
 */

/** Node's timers fire at once for more milliseconds. */
export const LONGEST_MS = 2 ** 31 - 1;

/** When a {@link Periodic} job runs. */
interface Period {
  /** Milliseconds from the end of one run to the begin of the next; more than 24 days count as 24 days. */
  readonly everyMs: number;
  /** How much a pause varies at random, as a share of it: 0.1 is ten percent more or less. Default 0. */
  readonly jitter?: number;
}

/**
 * A job that runs again and again between `start` and `stop`. Two runs never overlap: the next run is planned when the
 * present one has ended, asynchronous ones included. The job must handle its own failures: it may neither throw nor reject.
 */
export class Periodic {
  #timer: NodeJS.Timeout | undefined;
  #due = Infinity;
  #started = false;
  #running = false;
  // The pause that was asked for while the job ran.
  #wanted = Infinity;

  constructor(
    private readonly job: () => unknown,
    private readonly period: Period,
  ) {}

  /** Begins; the first run follows after one pause. Calling it again changes nothing. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    if (!this.#running) this.#plan(this.#pause());
  }

  /** Ends. A run under way goes on to its end. Calling it again changes nothing. */
  stop(): void {
    this.#started = false;
    this.#wanted = Infinity;
    this.#due = Infinity;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /**
   * Brings the next run forward: it begins at most so many milliseconds from now, or after the run under way. Does nothing
   * when the job is not started, or its next run is sooner.
   */
  runWithin(ms: number): void {
    if (!this.#started) return;
    if (this.#running) this.#wanted = Math.min(this.#wanted, ms);
    else if (performance.now() + ms < this.#due) this.#plan(ms);
  }

  #plan(ms: number): void {
    clearTimeout(this.#timer);
    this.#due = performance.now() + ms;
    this.#timer = setTimeout(() => {
      this.#run();
    }, ms).unref();
  }

  #run(): void {
    this.#running = true;
    this.#timer = undefined;
    this.#due = Infinity;
    const run = this.job();
    if (run instanceof Promise) void run.finally(() => this.#ended());
    else this.#ended();
  }

  #ended(): void {
    this.#running = false;
    const wanted = this.#wanted;
    this.#wanted = Infinity;
    if (this.#started) this.#plan(Math.min(wanted, this.#pause()));
  }

  #pause(): number {
    const { everyMs, jitter = 0 } = this.period;
    return Math.min(everyMs * (1 + jitter * (2 * Math.random() - 1)), LONGEST_MS);
  }
}

/**
 * Calls `onOver` after so many milliseconds, and after the sockets were read: an event loop that stood still runs its timers
 * before it reads the answers that came meanwhile. Returns what prevents the call.
 */
export function whenOver(onOver: () => void, ms: number): () => void {
  let open = true;
  const timer = setTimeout(
    () =>
      setImmediate(() => {
        if (open) onOver();
      }),
    Math.min(Math.max(0, ms), LONGEST_MS),
  );
  return () => {
    open = false;
    clearTimeout(timer);
  };
}

/**
 * The result of `work`, or what `onTimeout` returns when `work` takes longer than so many milliseconds. The work goes on in
 * the background then, and its failure is ignored; a failure in time rejects, and so does one of `onTimeout`.
 */
export function withTimeout<T, L>(work: Promise<T>, ms: number, onTimeout: () => L): Promise<T | L> {
  // Not Promise.race: each send and publication passes here, and it makes three promises more.
  return new Promise<T | L>((resolve, reject) => {
    // Any reason is passed on as it is, also one that is no Error.
    const fail: (reason: unknown) => void = reject;
    const stop = whenOver(() => {
      try {
        resolve(onTimeout());
      } catch (error) {
        fail(error);
      }
    }, ms);
    work.then(
      value => {
        stop();
        resolve(value);
      },
      (error: unknown) => {
        stop();
        fail(error);
      },
    );
  });
}

/** How often a step is repeated. */
interface Repetition {
  /** Calls at most, the first one included. */
  readonly tries: number;
  /** Milliseconds between two calls, give or take half, so that nodes that failed together do not return together. */
  readonly pauseMs: number;
  /** Whether a failure may pass. Default: every failure. */
  readonly passing?: (error: unknown) => boolean;
  /** Called before each repetition. */
  readonly onRetry?: (error: unknown) => void;
}

/** Calls `step` until it succeeds. Rejects with the last failure, or with the first one that will not pass. */
export async function retry<T>(
  step: () => Promise<T>,
  { tries, pauseMs, passing = () => true, onRetry }: Repetition,
): Promise<T> {
  for (let left = tries - 1; ; left -= 1) {
    try {
      return await step();
    } catch (error) {
      if (left <= 0 || !passing(error)) throw error;
      onRetry?.(error);
      await pause(pauseMs * (0.5 + Math.random()));
    }
  }
}

/** Resolves after so many milliseconds. Does not keep the process alive. */
export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, Math.min(ms, LONGEST_MS)).unref());
}
