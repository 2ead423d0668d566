import type { Reset, ResetClient, ResetHook } from '../contracts/connection.js';
import type { Logger } from '../contracts/logger.js';
import type { LocalConnection } from '../contracts/store.js';
import type { ConnectionTelemetry } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';

const PATIENCE_MS = 10_000;

/** The hooks that applications set for clients that miss entries. A failure of a hook is logged; the stream goes on. */
export class ResetHooks {
  readonly #hooks = new WeakMap<LocalConnection, ResetHook>();

  constructor(
    private readonly logger: Logger,
    private readonly telemetry: Pick<ConnectionTelemetry, 'handling'>,
  ) {}

  set(connection: LocalConnection, hook: ResetHook): void {
    this.#hooks.set(connection, hook);
  }

  /** Runs the hook of an open connection, after the client was given `sse.reset`. */
  onReset(connection: LocalConnection, reset: Reset): void {
    const hook = this.#hooks.get(connection);
    if (hook === undefined) return;
    queueMicrotask(() => {
      if (connection.state.kind !== 'open') return;
      void this.telemetry.handling(connection, () => this.#run(hook, connection, reset));
    });
  }

  /** Runs the hook of a connection during its replay, and waits for the hook up to 10 s. */
  async replaying(
    connection: LocalConnection,
    reset: Reset,
    send: ResetClient['send'],
  ): Promise<void> {
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
    const run = this.#run(hook, { id, topics, send }, reset);
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
