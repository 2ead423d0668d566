import { AsyncResource } from 'node:async_hooks';
import type { Reset, ResetClient, ResetHook } from '../contracts/connection.js';
import type { Logger } from '../contracts/logger.js';
import type { LocalConnection } from '../contracts/store.js';
import type { Telemetry } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import { joinResets } from '../protocol/gap.js';
import { withTimeout } from '../time.js';

/** Milliseconds that a replay waits for a hook. */
const HOOK_MS = 10_000;

/** The hook of one connection. */
interface OwnHook {
  readonly hook: ResetHook;
  /** The asynchronous context of the request that connected. */
  readonly scope: AsyncResource;
  running: boolean;
  /** The resets that the client got while the hook ran. */
  next: Reset | undefined;
}

/** The hooks that applications set for clients that miss entries. A failure of a hook is logged; the stream goes on. */
export class ResetHooks {
  readonly #hooks = new WeakMap<LocalConnection, OwnHook>();

  constructor(
    private readonly logger: Logger,
    private readonly telemetry: Pick<Telemetry['connections'], 'handling'>,
  ) {}

  /** Sets the hook of a connection, which runs in the present asynchronous context. */
  set(connection: LocalConnection, hook: ResetHook): void {
    const scope = new AsyncResource('distributed-sse.onReset');
    this.#hooks.set(connection, { hook, scope, running: false, next: undefined });
  }

  /** Runs the hook of an open connection whose client has taken `sse.reset`; never twice at the same time. */
  run(connection: LocalConnection, reset: Reset): void {
    const own = this.#hooks.get(connection);
    if (own === undefined) return;
    if (own.running) own.next = joinResets(own.next, reset);
    else void this.#runAll(own, connection, reset);
  }

  async #runAll(own: OwnHook, connection: LocalConnection, first: Reset): Promise<void> {
    own.running = true;
    for (let reset: Reset | undefined = first; reset !== undefined; reset = own.next) {
      own.next = undefined;
      if (connection.state.kind !== 'open') break;
      const due = reset;
      await own.scope.runInAsyncScope(() =>
        this.telemetry.handling(connection, () => this.#run(own.hook, connection, due)),
      );
    }
    own.running = false;
  }

  /** Runs the hook of a connection during its replay, and waits for the hook up to 10 s. */
  async replaying(connection: LocalConnection, reset: Reset, send: ResetClient['send']): Promise<void> {
    const own = this.#hooks.get(connection);
    if (own === undefined) return;
    const { id, topics } = connection;
    const running = own.scope.runInAsyncScope(() => this.#run(own.hook, { id, topics, send }, reset));
    await withTimeout(running, HOOK_MS, () => {
      this.#report(id, new SseError('INTERNAL', `onReset must settle within ${HOOK_MS} ms`));
    });
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
