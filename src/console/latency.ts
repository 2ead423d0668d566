import type { Latency } from './contract.js';

/** Upper bounds of the buckets in milliseconds; the last bucket has none. */
export const LATENCY_BOUNDS: readonly number[] = [
  0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 2_000, 3_000, 5_000,
  10_000,
];

/** Counts durations in buckets, so that those of several nodes can be joined. */
export class LatencyBuckets {
  readonly #buckets: number[] = new Array<number>(LATENCY_BOUNDS.length + 1).fill(0);
  #count = 0;
  #max = 0;

  add(ms: number): void {
    this.#count += 1;
    if (ms > this.#max) this.#max = ms;
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS.length && ms > (LATENCY_BOUNDS[bucket] ?? Infinity)) bucket += 1;
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
  }

  join({ count, max, buckets }: Latency): void {
    this.#count += count;
    this.#max = Math.max(this.#max, max);
    this.#buckets.forEach((own, bucket) => (this.#buckets[bucket] = own + (buckets[bucket] ?? 0)));
  }

  /** What was counted; `null` when nothing was. */
  read(): Latency | null {
    if (this.#count === 0) return null;
    const [p50, p90, p99] = [this.#percentile(0.5), this.#percentile(0.9), this.#percentile(0.99)];
    return { count: this.#count, p50, p90, p99, max: this.#max, buckets: this.#buckets };
  }

  /** The upper bound of the bucket in which so large a share has ended. */
  #percentile(share: number): number {
    let left = share * this.#count;
    const bucket = this.#buckets.findIndex(count => (left -= count) <= 0);
    return Math.min(LATENCY_BOUNDS[bucket] ?? this.#max, this.#max);
  }
}
