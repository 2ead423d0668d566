import type { Redis } from 'ioredis';
import { SseError } from '../../errors.js';
import { backoff } from './client.js';
import { toSseError } from './failures.js';
import type { PubSubMode } from './keys.js';

/** The listener of a subscriber. No method may throw; calls come in the order of their causes. */
export interface SubscriberEvents {
  /** A message. The payload belongs to the listener. */
  onMessage(channel: string, payload: Buffer): void;
  /** Every wanted channel is subscribed and acknowledged; messages since the last `onDown` are lost. */
  onUp?(): void;
  /** From some moment before now until `onUp`, messages are lost. */
  onDown?(): void;
  /** A failure that no call reports. */
  onError?(error: SseError): void;
}

/** How a subscriber connects and probes. */
interface SubscriberOptions {
  /** A new connection that is not connected yet; `attempt` grows with each one, so that another master can be tried. */
  readonly connect: (attempt: number) => Promise<Redis>;
  /** Rejects when messages do not arrive at the Redis of a new connection. Default: never. */
  readonly admit?: (connection: Redis) => Promise<void>;
  /** Why messages no longer arrive at the Redis of a connection. Default: they do. */
  readonly misplaced?: (connection: Redis) => string | undefined;
  /** Publishes as all messages are published. */
  readonly publish: (channel: string, payload: string) => Promise<unknown>;
  /** Channel of this subscriber alone. */
  readonly probeChannel: string;
  readonly mode: PubSubMode;
  /** Milliseconds between two probes. Default 5000. */
  readonly probeMs?: number;
}

type State =
  | { readonly kind: 'new' | 'closed' }
  | { readonly kind: 'making'; readonly attempt: number }
  | { readonly kind: 'opening'; readonly connection: Redis }
  | { readonly kind: 'up'; readonly connection: Redis; readonly since: number }
  | { readonly kind: 'waiting'; readonly timer: NodeJS.Timeout };

const PROBE_MS = 5_000;
/** A connection that was subscribed for so many milliseconds was well, also when no message came. */
const LIVED_MS = 250;
/** Channels of one call, which has a time limit of its own. */
const CHANNELS_PER_CALL = 1_000;

/**
 * Subscriptions on a connection of their own. The subscriber subscribes to every channel itself each time a connection is
 * ready, probes whether messages arrive, and replaces a connection that broke or fell silent. The pauses grow while
 * connections bring no message and soon break. Redis Pub/Sub decides the delivery: at most once, in order, from `onUp` to
 * `onDown`.
 */
export class RedisSubscriber {
  readonly #channels = new Set<string>();
  readonly #probe: LivenessProbe;
  #state: State = { kind: 'new' };
  /** Connections so far. */
  #attempt = 0;
  /** Connections in a row that brought no message and soon broke. */
  #fruitless = 0;

  constructor(
    private readonly options: SubscriberOptions,
    private readonly events: SubscriberEvents,
  ) {
    const { probeChannel, publish, probeMs = PROBE_MS } = options;
    const target = {
      publish: async () => {
        await publish(probeChannel, '');
        this.verifyServer();
      },
      onDead: () => this.#replace('publications succeed but none arrives'),
    };
    this.#probe = new LivenessProbe(target, probeMs);
  }

  /** Whether every wanted channel is subscribed, as far as known. */
  get up(): boolean {
    return this.#state.kind === 'up';
  }

  /** Begins to connect, and goes on trying until `close`. Calling it again changes nothing. */
  open(): void {
    if (this.#state.kind === 'new') void this.#connect();
  }

  /** Moves to another connection when messages no longer arrive at the present one, as after a failover. */
  verifyServer(): void {
    const state = this.#state;
    if (state.kind !== 'up') return;
    const reason = this.options.misplaced?.(state.connection);
    if (reason !== undefined) this.#replace(reason);
  }

  /**
   * Subscribes to channels and resolves when Redis has acknowledged each: messages that are published later arrive.
   * When it rejects, the channels stay wanted and are subscribed with the next connection, unless `unsubscribe` is called.
   * @throws SseError `UNAVAILABLE` when there is no connection or it breaks before; `CLOSED` after `close`.
   */
  async subscribe(channels: readonly string[]): Promise<void> {
    const state = this.#state;
    if (state.kind === 'closed') throw new SseError('CLOSED', 'the subscriber was closed; make another');
    for (const channel of channels) this.#channels.add(channel);
    if ((state.kind !== 'up' && state.kind !== 'opening') || state.connection.status !== 'ready') {
      throw new SseError('UNAVAILABLE', 'a subscription needs a connection to Redis, got none yet');
    }
    await this.#send(state.connection, channels);
  }

  /** Ends subscriptions; messages that are under way may still arrive. */
  unsubscribe(...channels: string[]): void {
    for (const channel of channels) this.#channels.delete(channel);
    const state = this.#state;
    if (state.kind !== 'up' && state.kind !== 'opening') return;
    const { connection } = state;
    if (connection.status !== 'ready' || channels.length === 0) return;
    const sent =
      this.options.mode === 'sharded' ? connection.sunsubscribe(...channels) : connection.unsubscribe(...channels);
    sent.catch((failure: unknown) => this.#lose(connection, failure));
  }

  /** Ends the connection; the listener is not called afterwards. Twice is harmless. */
  close(): void {
    const state = this.#state;
    this.#state = { kind: 'closed' };
    this.#probe.stop();
    this.#channels.clear();
    if (state.kind === 'waiting') clearTimeout(state.timer);
    if ('connection' in state) state.connection.disconnect();
  }

  async #connect(): Promise<void> {
    const attempt = this.#attempt++;
    const making: State = { kind: 'making', attempt };
    this.#state = making;
    let connection: Redis;
    try {
      connection = await this.options.connect(attempt);
    } catch (failure) {
      if (this.#state === making) this.#wait(failure);
      return;
    }
    if (this.#state !== making) return;
    this.#state = { kind: 'opening', connection };
    connection.on('error', (error: unknown) => this.#report(error));
    connection.on('end', () => this.#lose(connection));
    // A Redis Cluster that moves the slot of a sharded channel ends the subscription.
    connection.on('moved', () => this.#lose(connection));
    const heard = (channel: Buffer, payload: Buffer): void => this.#hear(connection, channel, payload);
    connection.on('messageBuffer', heard);
    connection.on('smessageBuffer', heard);
    connection.connect().then(
      () => this.#restore(connection),
      (failure: unknown) => this.#lose(connection, failure),
    );
  }

  async #restore(connection: Redis): Promise<void> {
    try {
      await this.options.admit?.(connection);
      await this.#send(connection, [this.options.probeChannel, ...this.#channels]);
    } catch (failure) {
      // #send has given the connection up, and nothing more happens.
      this.#lose(connection, failure);
      return;
    }
    if (!this.#isCurrent(connection)) return;
    this.#state = { kind: 'up', connection, since: performance.now() };
    this.#probe.start();
    this.events.onUp?.();
  }

  /** Resolves when all are acknowledged; otherwise the connection is given up. */
  async #send(connection: Redis, channels: readonly string[]): Promise<void> {
    try {
      // One after the other: the time of a call begins when it is made, not when Redis comes to it.
      for (let from = 0; from < channels.length; from += CHANNELS_PER_CALL) {
        const some = channels.slice(from, from + CHANNELS_PER_CALL);
        await (this.options.mode === 'sharded' ? connection.ssubscribe(...some) : connection.subscribe(...some));
      }
    } catch (failure) {
      this.#lose(connection, failure);
      throw toSseError(failure, 'a subscription');
    }
  }

  #hear(connection: Redis, channel: Buffer, payload: Buffer): void {
    if (!this.#isCurrent(connection)) return;
    this.#probe.heard();
    this.#fruitless = 0;
    const name = channel.toString();
    if (this.#channels.has(name)) this.events.onMessage(name, payload);
  }

  #replace(reason: string): void {
    const state = this.#state;
    if (state.kind === 'up') this.#lose(state.connection, new Error(reason));
  }

  /** Gives a connection up, if it is the present one, and plans the next. */
  #lose(connection: Redis, failure?: unknown): void {
    if (!this.#isCurrent(connection)) return;
    const state = this.#state;
    this.#probe.stop();
    // Whoever ends connections that are well, now and then, must not keep this node away for most of the time.
    if (state.kind === 'up' && performance.now() - state.since > LIVED_MS) this.#fruitless = 0;
    this.#wait(failure);
    connection.disconnect();
    if (state.kind === 'up') this.events.onDown?.();
  }

  #wait(failure: unknown): void {
    const timer = setTimeout(() => {
      void this.#connect();
    }, backoff(this.#fruitless++));
    this.#state = { kind: 'waiting', timer };
    if (failure !== undefined) this.#report(failure);
  }

  #isCurrent(connection: Redis): boolean {
    return 'connection' in this.#state && this.#state.connection === connection;
  }

  #report(failure: unknown): void {
    if (this.#state.kind !== 'closed') this.events.onError?.(toSseError(failure, 'a subscription'));
  }
}

/** The subscriber of a probe. */
interface ProbeTarget {
  /** Publishes to the subscriber itself, as all messages are published. */
  publish(): Promise<unknown>;
  /** The subscriber receives nothing although publishing works. */
  onDead(): void;
}

/** How often, at most, a window is doubled in effect. */
const MOST_STRETCH = 10;

/**
 * Finds a subscription that looks healthy and is dead, as after a failover. The probe publishes to the subscriber in each
 * window. The subscription is dead when that succeeded and the next window ends without any message: that takes two windows
 * at most. While publishing fails, the probe concludes nothing. Each verdict doubles the window, to ten times, until a
 * message is received.
 */
export class LivenessProbe {
  #timer: NodeJS.Timeout | undefined;
  #life = 0;
  #state: 'heard' | 'quiet' | 'published' = 'heard';
  #stretch = 1;

  constructor(
    private readonly target: ProbeTarget,
    private readonly windowMs: number,
  ) {}

  /** Begins a life of the subscriber. */
  start(): void {
    this.stop();
    this.#state = 'heard';
    this.#next();
  }

  /** To be called with every message. */
  heard(): void {
    this.#state = 'heard';
    this.#stretch = 1;
  }

  /** Ends it; twice is harmless. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#life += 1;
  }

  #next(): void {
    const life = this.#life;
    // An event loop that stood still runs its timers before it reads the message that came meanwhile.
    const onTime = (): void =>
      void setImmediate(() => {
        if (life === this.#life) this.#tick();
      });
    this.#timer = setTimeout(onTime, this.windowMs * this.#stretch).unref();
  }

  #tick(): void {
    if (this.#state === 'published') {
      this.stop();
      this.#stretch = Math.min(this.#stretch * 2, MOST_STRETCH);
      this.target.onDead();
      return;
    }
    this.#state = 'quiet';
    const life = this.#life;
    this.target.publish().then(
      () => {
        // The message may have arrived before, or the subscriber's life may be over.
        if (life === this.#life && this.#state === 'quiet') this.#state = 'published';
      },
      () => undefined,
    );
    this.#next();
  }
}
