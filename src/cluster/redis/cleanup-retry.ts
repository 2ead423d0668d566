import { setTimeout as delay } from 'node:timers/promises';
import type { UpkeepTelemetry } from '../../contracts/telemetry.js';
import { SseError } from '../../errors/sse-error.js';
import type { ReliabilitySettings } from '../../options/maintenance-settings.js';

/** Repeats a step of a cleanup that failed, as `reliability.cleanupRetry*` says; not at all when `reliability` is off. */
export class CleanupRetry {
  constructor(
    private readonly settings: Pick<
      ReliabilitySettings,
      'enabled' | 'cleanupRetryCount' | 'cleanupRetryInterval'
    >,
    private readonly telemetry: Pick<UpkeepTelemetry, 'retrying'>,
  ) {}

  /** @throws what the last try threw, or the first that no repetition cures */
  async run<T>(step: () => Promise<T>): Promise<T> {
    const { enabled, cleanupRetryCount, cleanupRetryInterval } = this.settings;
    for (let left = enabled ? cleanupRetryCount : 0; ; left -= 1) {
      try {
        return await step();
      } catch (error) {
        if (left === 0 || !SseError.is(error) || !error.retryable) throw error;
        this.telemetry.retrying('maintenance', error);
        // Nodes that failed together must not try again together.
        await delay(cleanupRetryInterval * (0.5 + Math.random()), undefined, { ref: false });
      }
    }
  }
}
