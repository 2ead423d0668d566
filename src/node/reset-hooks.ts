import type { Reset, ResetClient, ResetHook } from '../contracts/connection.js';
import type { Gap } from '../contracts/events.js';
import type { Logger } from '../contracts/logger.js';
import type { LocalConnection } from '../contracts/store.js';
import type { ConnectionTelemetry } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import { formatCursor } from '../protocol/cursor.js';

const PATIENCE_MS = 10_000;

/** What applications do when a client of theirs is told of a gap. A failure is logged and costs nobody anything else. */
export class ResetHooks {
  readonly #hooks = new WeakMap<LocalConnection, ResetHook>();

  constructor(
    private readonly logger: Logger,
    private readonly telemetry: Pick<ConnectionTelemetry, 'handling'>,
  ) {}

  set(connection: LocalConnection, hook: ResetHook): void {
    this.#hooks.set(connection, hook);
  }

  /** Runs the hook of a connection whose stream goes on, once the client has been told. */
  told(connection: LocalConnection, gap: Gap): void {
    const hook = this.#hooks.get(connection);
    if (hook === undefined) return;
    const reset = resetOf(connection, gap);
    queueMicrotask(() => {
      if (connection.state.kind !== 'open') return;
      void this.telemetry.handling(connection, () => this.#run(hook, connection, reset));
    });
  }

  /** Runs the hook of a connection that is being replayed to, and waits for it, but not for ever. */
  async replaying(connection: LocalConnection, gap: Gap, send: ResetClient['send']): Promise<void> {
    const hook = this.#hooks.get(connection);
    if (hook === undefined) return;
    const { id, topics } = connection;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>(resolve => {
      timer = setTimeout(() => {
        this.#report(id, new SseError('INTERNAL', `onReset must settle within ${PATIENCE_MS} ms`));
        resolve();
      }, PATIENCE_MS);
    });
    const run = this.#run(hook, { id, topics, send }, resetOf(connection, gap));
    await Promise.race([run, late]);
    clearTimeout(timer);
  }

  async #run(hook: ResetHook, client: ResetClient, reset: Reset): Promise<void> {
    try {
      await hook(client, reset);
    } catch (error) {
      this.#report(client.id, error);
    }
  }

  #report(connectionId: string, error: unknown): void {
    this.logger.error('an onReset hook failed; the stream goes on without', {
      connectionId,
      error,
    });
  }
}

function resetOf({ topics: followed }: LocalConnection, gap: Gap): Reset {
  const { reason, topics = [...followed], resumedFrom } = gap;
  return { reason, topics, resumedFrom: formatCursor(resumedFrom) };
}
