/** Milliseconds by which a monotonic clock may go wrong in one millisecond. */
const DRIFT = 0.0005;
/** In milliseconds. */
const MICROSECOND = 0.001;

/**
 * Redis' clock as a node knows it: from the times in script answers, and its own monotonic clock in between. In a Redis
 * Cluster it is the clock of one master, the same for all nodes.
 */
export class RedisClock {
  /** Bounds of Redis' time minus monotonic time, as they were at `at`. */
  #offset: { readonly low: number; readonly high: number; readonly at: number } | undefined;
  #begin: number | undefined;

  /** The time in Redis' first answer; `undefined` before. */
  get begin(): number | undefined {
    return this.#begin;
  }

  /** A time in milliseconds at which Redis certainly was, never after its present time; `undefined` before an answer. */
  get earliest(): number | undefined {
    const bounds = this.#bounds(performance.now());
    return bounds && performance.now() + bounds.low;
  }

  /** A time in milliseconds that Redis certainly has not passed; `undefined` before an answer. */
  get latest(): number | undefined {
    const bounds = this.#bounds(performance.now());
    return bounds && performance.now() + bounds.high;
  }

  /** @param redis milliseconds in an answer, exact to a microsecond @param sentAt monotonic time at which the call was made */
  observe(redis: number, sentAt: number): void {
    const at = performance.now();
    const known = this.#bounds(at) ?? { low: -Infinity, high: Infinity };
    const [low, high] = [redis - at, redis + MICROSECOND - sentAt];
    // Without a common part Redis' clock was changed, or another master answers.
    const fits = low <= known.high && known.low <= high;
    this.#begin ??= redis;
    this.#offset = fits ? { low: Math.max(low, known.low), high: Math.min(high, known.high), at } : { low, high, at };
  }

  /** Notes that Redis had reached this time, as another node knew; a time that this node excludes changes nothing. */
  raise(redis: number): void {
    const at = performance.now();
    const known = this.#bounds(at);
    const low = redis - at;
    if (known !== undefined && low > known.low && low <= known.high) this.#offset = { low, high: known.high, at };
  }

  #bounds(now: number): { readonly low: number; readonly high: number } | undefined {
    if (this.#offset === undefined) return undefined;
    const { low, high, at } = this.#offset;
    const drift = (now - at) * DRIFT;
    return { low: low - drift, high: high + drift };
  }
}
