import type { LocalConnection } from '../contracts/connection-store.js';
import type { ConnectionEnvironment } from './connection-environment.js';
import type { PumpTarget } from './pump.js';
import { SourceItemReader } from './source-item-reader.js';

/** A connection as the target of a pump: items become events, joined per tick. */
export class SourceTarget implements PumpTarget {
  readonly signal: AbortSignal;
  readonly #reader = new SourceItemReader();

  constructor(
    private readonly connection: LocalConnection,
    private readonly environment: ConnectionEnvironment,
  ) {
    this.signal = connection.signal;
  }

  drained(): Promise<void> {
    return this.connection.drained();
  }

  take(item: unknown): void {
    const read = this.#reader.read(item);
    if (read === undefined) return;
    const { event = 'message', data, ...options } = read;
    const { encoder, events } = this.environment;
    const { outcome } = this.connection.enqueue(encoder.encode(event, data, options));
    events.sent('source', event, outcome === 'closed' ? 'not-connected' : outcome);
  }

  onLateFailure(error: unknown): void {
    this.environment.logger.debug('a source failed after it was given up', {
      connectionId: this.connection.id,
      error,
    });
  }
}
