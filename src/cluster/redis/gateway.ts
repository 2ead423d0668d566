import type { Cluster, Redis } from 'ioredis';
import { SseError } from '../../errors.js';
import { isCluster, type Quietly, type RedisAddress } from './client.js';
import { isHeard, RedisConnections } from './connections.js';
import { describeFailure, redisErrorCode, type ServerInfo, toSseError, toStartError } from './failures.js';
import { type KeyLayout, Keys, type PubSubMode } from './keys.js';
import type { PlainCommand } from './plain.js';
import { loadScripts, permissionsOf, type Script, type ScriptSource, type ScriptValue } from './script.js';
import { accessScript, SCRIPTS } from './scripts.js';
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
  /** Whether the permissions of the account are asked about at the start. Default true. */
  readonly checksAccount?: boolean;
  readonly events?: GatewayEvents;
  /** Runs each command. Default as it is. */
  readonly quietly?: Quietly;
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
  /** Whether it is a Redis Cluster. */
  readonly cluster: boolean;
  readonly #connections: RedisConnections;
  readonly #client: Redis | Cluster;
  /** The client, where it is not that of a Redis Cluster: every command goes on its connection. */
  readonly #single: Redis | undefined;
  readonly #scripts: ReadonlyMap<string, string>;
  readonly #subscribers = new Set<RedisSubscriber>();
  #state: State = 'new';
  #reachable = false;
  #server: ServerInfo | undefined;
  #life = 0;

  /** @throws SseError `INVALID_OPTION` for settings that cannot work; `INTERNAL` when a script is missing. */
  constructor(private readonly options: GatewayOptions) {
    const connectionEvents = {
      onOpen: (server: ServerInfo | undefined) => this.#reached(server),
      onClose: () => this.#lost(),
      onError: (failure: unknown) => {
        if (this.#state !== 'closed') options.events?.onError?.(toSseError(failure, 'a connection'));
      },
    };
    this.#connections = new RedisConnections(options.redis, connectionEvents, options.quietly);
    const { command: client, cluster, database } = this.#connections;
    this.#client = client;
    this.#single = isCluster(client) ? undefined : client;
    this.cluster = cluster;
    this.keys = new Keys({ ...options.redis, cluster, database });
    this.#scripts = loadScripts(
      SCRIPTS.map(({ name }) => name),
      options.source,
    );
    for (const [name, lua] of this.#scripts) this.#client.defineCommand(commandName(name), { lua });
  }

  /** Whether the connection for commands is open; a silent one still counts until a call times out. */
  get reachable(): boolean {
    return this.#reachable;
  }

  /** Grows with each new connection for commands. Calls on one connection run in the order in which they were sent. */
  get life(): number {
    return this.#life;
  }

  /** Reconnects when a gateway of the same node that connected later is at another server. */
  follow(other: RedisGateway): void {
    this.#connections.follow(other.#server);
  }

  /** The policy by which Redis deletes keys when its memory is full; `undefined` when it does not, as far as known. */
  get evictionPolicy(): string | undefined {
    return this.#server?.evictionPolicy;
  }

  /** Whether keys may be gone before their time. Each master of a Redis Cluster has a policy of its own. */
  get mayEvict(): boolean {
    return this.cluster || this.evictionPolicy !== undefined;
  }

  /**
   * Why Redis cannot be reached: there is no connection, or the master of `key` has been silent for two seconds while calls
   * waited. `undefined` when it can be reached, as far as known. Without a key only the connection counts.
   */
  obstacle(key?: string): string | undefined {
    if (!this.#reachable) {
      const { failure } = this.#connections;
      return `there is no connection to Redis${failure === undefined ? '' : `: ${describeFailure(failure)}`}`;
    }
    const silence = key === undefined ? undefined : this.#connections.silence.of(key);
    return silence === undefined ? undefined : `Redis has been silent for ${Math.round(silence)} ms`;
  }

  /**
   * Connects. Rejects when the first try fails; tries go on in the background until `close`, and `onReachable` reports.
   * Calling it again resolves when Redis is reached at present and rejects when not.
   * @throws SseError `INVALID_OPTION` when no try can succeed before the settings or the Redis are changed; `UNAVAILABLE`
   */
  async open(): Promise<void> {
    if (this.#state !== 'new') {
      this.#refuseUnreached('a call');
      return;
    }
    this.#state = 'open';
    try {
      await this.#connections.open();
      if (this.options.checksAccount !== false) await this.#refuseMissingPermissions();
    } catch (failure) {
      this.#refuseClosed();
      throw toStartError(failure);
    }
  }

  /** Runs a script, once. The error of a call that may have run and must not run twice is not retryable. */
  async run<Request, Reply>(script: Script<Request, Reply>, request: Request): Promise<Reply> {
    const attempt = `lua/${script.name}.lua`;
    this.#refuseUnreached(attempt);
    const keys = script.keysOf(request);
    // A run id cannot change in the life of a connection.
    const runId = !script.usesRunId ? '' : this.cluster ? ASK_THERE : (this.#server?.runId ?? '');
    const args = script.argsOf(request, runId);
    const plain = this.options.plain?.get(script.name);
    const begin = performance.now();
    this.#joinWrites(this.#single ?? this.#connections.connectionOf(keys[0] ?? ''));
    let reply: unknown;
    try {
      reply = await (plain === undefined
        ? this.#call(script, [keys.length, ...keys, ...args])
        : plain(this.#client, keys, args.map(String)));
    } catch (failure) {
      throw this.#failed(
        { attempt, command: script.name, key: keys[0] ?? '', begin, failure },
        script.repeatable(request),
      );
    }
    this.options.events?.onCommand?.(script.name, performance.now() - begin);
    return script.parse(reply);
  }

  /** Publishes and returns how many subscribers Redis counted: in a Redis Cluster those of one node, classic mode. */
  async publish(channel: string, payload: string | Buffer, mode: PubSubMode): Promise<number> {
    const attempt = 'a publication';
    this.#refuseUnreached(attempt);
    const command = mode === 'sharded' ? 'spublish' : 'publish';
    const begin = performance.now();
    const client = this.#single ?? (mode === 'sharded' ? this.#client : this.#connections.publisher);
    this.#joinWrites(isCluster(client) ? this.#connections.connectionOf(channel) : client);
    let count: number;
    try {
      count = Number(await client[command](channel, payload));
    } catch (failure) {
      if (redisErrorCode(failure) === undefined) this.#connections.leavePublisher(client);
      throw this.#failed({ attempt, command: command.toUpperCase(), key: channel, begin, failure }, true);
    }
    this.options.events?.onCommand?.(command.toUpperCase(), performance.now() - begin);
    return count;
  }

  /** Whether a classic channel has a subscriber at any master of a Redis Cluster. Where one does not say, it is taken for granted. */
  async hears(channel: string): Promise<boolean> {
    return !isCluster(this.#client) || (await isHeard(this.#client, channel));
  }

  /**
   * A subscriber on a connection of its own, probed through this gateway. `near` is a channel or key of the slot whose master
   * it connects to, in sharded mode; `id` names its probe channel and must be unique.
   */
  subscriber(mode: PubSubMode, id: string, events: SubscriberEvents, near?: string): RedisSubscriber {
    const connections = this.#connections;
    const subscriber = new RedisSubscriber(
      {
        connect: attempt => connections.subscriber(attempt, id, near),
        admit: connection => connections.admit(connection),
        misplaced: connection => connections.misplaced(connection, near),
        publish: (channel, payload) => this.publish(channel, payload, mode),
        probeChannel: this.keys.probeChannel(id, near),
        mode,
      },
      events,
    );
    this.#subscribers.add(subscriber);
    return subscriber;
  }

  /** Ends the connection for commands; the callers of `subscriber` close their own. Twice is harmless. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#subscribers.clear();
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

  /**
   * Has the calls that one answer, frame or event of the event loop brings leave in one write to the socket: they are most of
   * the cost of a call. A call that comes alone does not wait.
   */
  #joinWrites(connection: Redis | undefined): void {
    // Unlike what the types say, there is no stream before the first connect.
    const stream: Redis['stream'] | undefined = connection?.stream;
    if (stream === undefined || stream.writableCorked > 0) return;
    stream.cork();
    process.nextTick(() => stream.uncork());
  }

  /** The error of a call that failed; reports the call. */
  #failed({ attempt, command, key, begin, failure }: FailedCall, repeatable: boolean): SseError {
    if (redisErrorCode(failure) === undefined) {
      this.#connections.silence.onUnanswered(key, begin);
      for (const subscriber of this.#subscribers) subscriber.verifyServer();
    }
    this.options.events?.onCommand?.(command, performance.now() - begin, toSseError(failure, command));
    this.#refuseClosed();
    return toSseError(failure, attempt, repeatable);
  }

  /** A command that is refused later would fail a call of a client; so all are asked about at the start. */
  async #refuseMissingPermissions(): Promise<void> {
    const { keys } = this;
    const sharded = [keys.nodeMode, keys.logMode].includes('sharded');
    const permissions = permissionsOf(this.#scripts.values(), { sharded, numsub: keys.numsub ?? 'NUMSUB' });
    const reply = await this.run(accessScript, { key: keys.logMeta, channel: keys.controlChannel, permissions });
    if (reply.status === 'UNKNOWN' || reply.refused.length === 0) return;
    const refused = reply.refused.map(each => each.slice(1).toUpperCase()).join(', ');
    throw new SseError(
      'INVALID_OPTION',
      `the Redis user must be allowed to run every command of this library on its keys and channels, got a refusal of ` +
        `${refused}; allow them with ACL SETUSER, on keys and channels that begin with redis.prefix (docs/redis.md)`,
    );
  }

  #reached(server: ServerInfo | undefined): void {
    if (this.#state === 'closed') return;
    this.#reachable = true;
    this.#server = server;
    this.#life += 1;
    this.options.events?.onReachable?.(true);
    for (const subscriber of this.#subscribers) subscriber.verifyServer();
  }

  #lost(): void {
    if (!this.#reachable) return;
    this.#reachable = false;
    this.options.events?.onReachable?.(false);
  }

  #refuseUnreached(attempt: string): void {
    this.#refuseClosed();
    if (!this.#reachable) throw this.#unreached(attempt);
  }

  #unreached(attempt: string): SseError {
    const { failure } = this.#connections;
    const reason = failure === undefined ? 'none' : `none: ${describeFailure(failure)}`;
    return new SseError('UNAVAILABLE', `${attempt} needs a connection to Redis, got ${reason}; try again later`, {
      cause: failure,
      noEffect: 'CLUSTER_UNREACHABLE',
    });
  }

  #refuseClosed(): void {
    if (this.#state !== 'closed') return;
    throw new SseError('CLOSED', 'the way to Redis was closed; make a new container');
  }
}

/** A call that Redis refused or did not answer. */
interface FailedCall {
  /** In words. */
  readonly attempt: string;
  readonly command: string;
  readonly key: string;
  /** When it was sent, by the monotonic clock. */
  readonly begin: number;
  readonly failure: unknown;
}

// Not the bare name: `publish` would hide the command.
function commandName(script: string): string {
  return `sse_${script}`;
}
