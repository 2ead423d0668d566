import type { LeakProbe } from '../contracts/leak-probe.js';
import type { Logger } from '../contracts/logger.js';
import type { UpkeepTelemetry } from '../contracts/telemetry.js';

/**
 * Looks for what nobody owns any more, and lets go of it. Things end all the time, and not everything about them at one
 * instant: only what looks leaked at two looks in a row is a leak.
 */
export class LeakDetection {
  readonly #probes: LeakProbe[] = [];
  #suspects = new Map<LeakProbe, ReadonlySet<unknown>>();
  #timer: NodeJS.Timeout | undefined;

  /** @param interval milliseconds between two looks */
  constructor(
    private readonly interval: number,
    private readonly logger: Logger,
    private readonly telemetry: Pick<UpkeepTelemetry, 'leaked'>,
  ) {}

  /** Adds what is to be looked at. */
  watch(probes: Iterable<LeakProbe>): void {
    this.#probes.push(...probes);
  }

  /** Looks every interval until {@link stop}. Twice is harmless. */
  start(): void {
    this.#timer ??= setInterval(() => this.run(), this.interval).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#suspects = new Map();
  }

  /** One look. Returns how many leaks it let go of, by kind; kinds without any are left out. */
  run(): Readonly<Record<string, number>> {
    const leaks: Record<string, number> = {};
    const suspects = new Map<LeakProbe, ReadonlySet<unknown>>();
    for (const probe of this.#probes) {
      try {
        const count = this.#look(probe, suspects);
        if (count > 0) leaks[probe.kind] = (leaks[probe.kind] ?? 0) + count;
      } catch (error) {
        // A service of the application's own may have it.
        this.logger.error('leaks could not be looked for', { kind: probe.kind, error });
      }
    }
    this.#suspects = suspects;
    return leaks;
  }

  /** Returns how many leaks of one kind it let go of; notes what looks like one. */
  #look(probe: LeakProbe, suspects: Map<LeakProbe, ReadonlySet<unknown>>): number {
    const before = this.#suspects.get(probe);
    const now = new Set(probe.suspects());
    const confirmed = [...now].filter(suspect => before?.has(suspect));
    suspects.set(probe, now);
    for (const leak of confirmed) {
      probe.release(leak);
      now.delete(leak);
    }
    const count = confirmed.length;
    if (count === 0) return 0;
    this.telemetry.leaked(probe.kind, count);
    this.logger.warn('leaks were found and let go', { kind: probe.kind, count });
    return count;
  }
}
