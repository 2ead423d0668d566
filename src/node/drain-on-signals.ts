import type { SseService } from '../contracts/service.js';
import { atMost } from './within-deadline.js';

// Longer than closing a listener and a last export of telemetry take.
const AFTERWARDS_MS = 5_000;

/** Settings of {@link drainOnSignals}. */
export interface DrainOnSignalsOptions {
  /** Default `SIGTERM` and `SIGINT`. */
  readonly signals?: readonly NodeJS.Signals[];
  /** Ends what else the process has, its listener for example, once the clients are gone. It may take five seconds. */
  readonly afterwards?: () => unknown;
  /** Is told why a drain, or `afterwards`, failed. Default: prints it. */
  readonly onError?: (error: unknown) => void;
}

/**
 * Ends the process as it should: at the first signal the service drains, within `reliability.gracefulShutdownTimeout`, then
 * the process exits with 0, or with 1 when something failed. A second signal exits with 1 at once.
 *
 * To be called before `start`, so that a signal that comes meanwhile is no crash; `start` is rejected with `CLOSED` then.
 * Returns what takes it back.
 */
export function drainOnSignals(
  service: Pick<SseService, 'drain'>,
  {
    signals = ['SIGTERM', 'SIGINT'],
    afterwards = () => undefined,
    onError = error => console.error(error),
  }: DrainOnSignalsOptions = {},
): () => void {
  let ending = false;
  const end = async (): Promise<void> => {
    try {
      await service.drain();
      await atMost(AFTERWARDS_MS, Promise.resolve(afterwards()));
    } catch (error) {
      onError(error);
      process.exit(1);
    }
    process.exit(0);
  };
  const onSignal = (): void => {
    if (ending) return process.exit(1);
    ending = true;
    void end();
  };
  for (const signal of signals) process.on(signal, onSignal);
  return () => {
    for (const signal of signals) process.off(signal, onSignal);
  };
}
