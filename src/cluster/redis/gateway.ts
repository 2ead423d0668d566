import type { Cluster, Redis } from 'ioredis';
import { SseError } from '../../errors.js';
import { beforeSending, type RedisAddress, RedisConnections, toSseError } from './connections.js';
import { type KeyLayout, Keys, type PubSubMode } from './keys.js';
import type { PlainCommand } from './plain.js';
import { loadScripts, type Script, type ScriptSource, type ScriptValue } from './script.js';
import { SCRIPTS } from './scripts.js';
import { RedisSubscriber, type SubscriberEvents } from './subscriber.js';

/** The listener of a gateway. No method may throw. */
interface GatewayEvents {
  /** The connection for commands opened or closed. */
  onReachable?(reachable: boolean): void;
  /** A failure that no call reports. */
  onError?(error: SseError): void;
  /** A script, named like its file, or a command was answered or failed. @param ms duration in milliseconds */
  onCommand?(command: string, ms: number, error?: SseError): void;
}

/** Settings of a gateway. */
export interface GatewayOptions {
  readonly redis: RedisAddress & Omit<KeyLayout, 'cluster' | 'database'>;
  /** `script.scriptCacheEnabled`: false sends each script's text with each call. */
  readonly scriptCache: boolean;
  /** Scripts that run as plain commands instead. Default none. */
  readonly plain?: ReadonlyMap<string, PlainCommand>;
  readonly events?: GatewayEvents;
  readonly source?: ScriptSource;
}

type State = 'new' | 'open' | 'closed';
type Call = (...values: ScriptValue[]) => Promise<unknown>;

/** Makes each script ask for the run id of the Redis that runs it. It costs an INFO, and is exact when slots move. */
const ASK_THERE = '?';

/**
 * Runs scripts, publishes, and makes subscribers. Calls are sent in the order they are made; calls to the log have an order
 * of their own. Each call settles within its timeout, and none waits while Redis cannot be reached. Every failure is an
 * `SseError`: `UNAVAILABLE` when Redis cannot be reached or is not ready to serve, `CLOSED` after `close`, else `INTERNAL`
 * with the cause.
 */
export class RedisGateway {
  readonly keys: Keys;
  readonly #connections: RedisConnections;
  readonly #client: Redis | Cluster;
  readonly #scripts: ReadonlyMap<string, string>;
  #state: State = 'new';
  #reachable = false;
  #life = 0;
  #lastError: unknown;
  #runId: Promise<string> | undefined;

  /** @throws SseError `INVALID_OPTION` for settings that cannot work; `INTERNAL` when a script is missing. */
  constructor(private readonly options: GatewayOptions) {
    this.#connections = new RedisConnections(options.redis);
    this.#client = this.#connections.command;
    const { cluster, database } = this.#connections;
    this.keys = new Keys({ ...options.redis, cluster, database });
    this.#scripts = loadScripts(
      SCRIPTS.map(({ name }) => name),
      options.source,
    );
    for (const [name, lua] of this.#scripts) this.#client.defineCommand(commandName(name), { lua });
    this.#client.on('error', (error: unknown) => {
      this.#failed(error);
    });
    this.#client.on('node error', (error: unknown) => {
      this.#failed(error);
    });
    this.#client.on('ready', () => {
      this.#reached();
    });
    this.#client.on('close', () => {
      this.#lost();
    });
  }

  /** Whether the connection for commands is open; a silent one still counts until a call times out. */
  get reachable(): boolean {
    return this.#reachable;
  }

  /** Grows with each new connection for commands. Calls on one connection run in the order in which they were sent. */
  get life(): number {
    return this.#life;
  }

  /** Whether it is a Redis Cluster. */
  get cluster(): boolean {
    return this.#connections.cluster;
  }

  /**
   * Connects. Rejects when the first try fails; tries go on in the background until `close`, and `onReachable` reports.
   * Calling it again resolves when Redis is reached at present and rejects when not.
   */
  async open(): Promise<void> {
    this.#refuseClosed();
    if (this.#state === 'open') {
      if (!this.#reachable) throw unreached('a call', this.#lastError);
      return;
    }
    this.#state = 'open';
    try {
      await this.#connections.open();
    } catch (failure) {
      this.#refuseClosed();
      throw toSseError(this.#lastError ?? failure, 'at all');
    }
    this.#reached();
  }

  /** Runs a script, once. The error of a call that may have run and must not run twice is not retryable. */
  async run<Request, Reply>(script: Script<Request, Reply>, request: Request): Promise<Reply> {
    const attempt = `lua/${script.name}.lua`;
    const runId = script.usesRunId ? await beforeSending(this.#attempt(attempt, () => this.#askRunId())) : '';
    const keys = script.keysOf(request);
    const values = [keys.length, ...keys, ...script.argsOf(request, runId)];
    const plain = this.options.plain?.get(script.name);
    const call = (): Promise<unknown> =>
      this.#measured(script.name, () =>
        plain === undefined
          ? this.#call(script, values)
          : plain(this.#client, keys, values.slice(1 + keys.length).map(String)),
      );
    return script.parse(await this.#attempt(attempt, call, script.repeatable(request)));
  }

  /** Publishes and returns how many subscribers Redis counted: in a Redis Cluster those of one node, classic mode. */
  async publish(channel: string, payload: string | Buffer, mode: PubSubMode): Promise<number> {
    const command = mode === 'sharded' ? 'spublish' : 'publish';
    const count = await this.#attempt('a publication', () =>
      this.#measured(command.toUpperCase(), () => this.#client[command](channel, payload)),
    );
    return Number(count);
  }

  /**
   * A subscriber on a connection of its own, probed through this gateway. `near` is a channel or key of the slot whose master
   * it connects to, in sharded mode; `id` names its probe channel and must be unique.
   */
  subscriber(mode: PubSubMode, id: string, events: SubscriberEvents, near?: string): RedisSubscriber {
    return new RedisSubscriber(
      {
        connect: attempt => this.#connections.subscriber(attempt, near),
        publish: (channel, payload) => this.publish(channel, payload, mode),
        probeChannel: this.keys.probeChannel(id, near),
        mode,
      },
      events,
    );
  }

  /** Ends the connection for commands; the callers of `subscriber` close their own. Twice is harmless. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    try {
      if (this.#reachable) await this.#client.quit();
    } catch {
      // The connection is closed already, or Redis does not answer: no reply is left to wait for.
    } finally {
      this.#client.disconnect();
    }
  }

  #call(script: { readonly name: string; readonly binary: boolean }, values: ScriptValue[]) {
    const suffix = script.binary ? 'Buffer' : '';
    if (!this.options.scriptCache) {
      const all = [this.#scripts.get(script.name) ?? '', ...values];
      return script.binary ? this.#client.callBuffer('eval', all) : this.#client.call('eval', all);
    }
    // ioredis sends EVAL first on each connection and EVALSHA after, and EVAL again on NOSCRIPT. It adds the method to
    // the client, which its types cannot know.
    const call = Reflect.get(this.#client, commandName(script.name) + suffix) as Call;
    return call.apply(this.#client, values);
  }

  async #attempt<T>(attempt: string, call: () => Promise<T>, repeatable = true): Promise<T> {
    this.#refuseClosed();
    if (!this.#reachable) throw unreached(attempt, this.#lastError);
    try {
      return await call();
    } catch (failure) {
      this.#refuseClosed();
      throw toSseError(failure, attempt, repeatable);
    }
  }

  async #measured<T>(command: string, call: () => Promise<T>): Promise<T> {
    const { events } = this.options;
    if (events?.onCommand === undefined) return call();
    const startedAt = performance.now();
    try {
      const reply = await call();
      events.onCommand(command, performance.now() - startedAt);
      return reply;
    } catch (failure) {
      events.onCommand(command, performance.now() - startedAt, toSseError(failure, command));
      throw failure;
    }
  }

  #askRunId(): Promise<string> {
    if (this.#connections.cluster) return Promise.resolve(ASK_THERE);
    // Kept for the life of the connection, in which it cannot change; a failure is not kept.
    this.#runId ??= this.#readRunId().catch((failure: unknown) => {
      this.#runId = undefined;
      throw failure;
    });
    return this.#runId;
  }

  async #readRunId(): Promise<string> {
    const info = await this.#client.info('server');
    return /^run_id:(\w+)/m.exec(info)?.[1] ?? '';
  }

  #reached(): void {
    if (this.#reachable || this.#state === 'closed') return;
    this.#reachable = true;
    this.#life += 1;
    this.#lastError = undefined;
    this.options.events?.onReachable?.(true);
  }

  #lost(): void {
    this.#runId = undefined;
    if (!this.#reachable) return;
    this.#reachable = false;
    this.options.events?.onReachable?.(false);
  }

  #failed(error: unknown): void {
    this.#lastError = error;
    if (this.#state !== 'closed') this.options.events?.onError?.(toSseError(error, 'a connection'));
  }

  #refuseClosed(): void {
    if (this.#state !== 'closed') return;
    throw new SseError('CLOSED', 'the way to Redis was closed; make a new container');
  }
}

// Not the bare name: `publish` would hide the command.
function commandName(script: string): string {
  return `sse_${script}`;
}

function unreached(attempt: string, cause: unknown): SseError {
  return new SseError('UNAVAILABLE', `${attempt} needs a connection to Redis, got none; try again later`, {
    cause,
    noEffect: 'CLUSTER_UNREACHABLE',
  });
}
