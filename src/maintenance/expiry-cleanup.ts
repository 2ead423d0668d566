import type { ConnectionStore } from '../contracts/connection-store.js';
import type { Logger } from '../contracts/logger.js';
import type { UpkeepTelemetry } from '../contracts/telemetry.js';

/** How the cleanup works. */
export interface ExpiryCleanupSettings {
  readonly enabled: boolean;
  /** Milliseconds between two runs. */
  readonly interval: number;
  /** Milliseconds since the last accepted byte after which a connection is removed. */
  readonly connectionTtl: number;
}

/** Removes connections of this node whose sockets have taken nothing for `cleanup.connectionTtl`. */
export class ExpiryCleanup {
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly store: ConnectionStore,
    private readonly settings: ExpiryCleanupSettings,
    private readonly logger: Logger,
    private readonly telemetry: Pick<UpkeepTelemetry, 'cleaning'>,
  ) {}

  /** Runs every `cleanup.interval` until {@link stop}; does nothing when the cleanup is off. Twice is harmless. */
  start(): void {
    if (!this.settings.enabled) return;
    this.#timer ??= setInterval(() => this.run(), this.settings.interval).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** One pass over the store. Returns how many connections it removed. */
  run(): number {
    return this.telemetry.cleaning('connection', () => this.#removeExpired());
  }

  #removeExpired(): number {
    const oldest = Date.now() - this.settings.connectionTtl;
    const expired = [...this.store.connections()].filter(({ lastTakenAt }) => lastTakenAt < oldest);
    for (const connection of expired) connection.close('expired');
    if (expired.length > 0)
      this.logger.info('expired connections removed', { count: expired.length });
    return expired.length;
  }
}
