import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';
import type { Attributes } from '@opentelemetry/api';
import { ATTRIBUTE } from './names.js';

const RESOLUTION_MS = 20;
const NANOSECONDS = 1e9;

/** Measures how late the event loop is, from its making until `close`. */
export class EventLoopDelay {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#histogram.enable();
  }

  /** Hands out the figures since the last look, in seconds; nothing when the loop has not turned since. */
  read(observe: (seconds: number, labels: Attributes) => void): void {
    const { mean, max } = this.#histogram;
    if (Number.isNaN(mean)) return;
    const statistics = { mean, p99: this.#histogram.percentile(99), max };
    for (const [statistic, delay] of Object.entries(statistics)) {
      // It counts the whole interval between two looks of its own.
      const late = Math.max(0, delay / NANOSECONDS - RESOLUTION_MS / 1000);
      observe(late, { [ATTRIBUTE.statistic]: statistic });
    }
    this.#histogram.reset();
  }

  close(): void {
    this.#histogram.disable();
  }
}
