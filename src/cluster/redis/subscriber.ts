import type { Redis } from 'ioredis';
import { SseError } from '../../errors.js';
import { backoff } from './connections.js';
import { toSseError } from './failure.js';
import type { PubSubMode } from './keys.js';

/** What a subscriber tells. None may throw; calls come in the order of what happened. */
export interface SubscriberEvents {
  /** A message. The payload is the receiver's to keep. */
  onMessage(channel: string, payload: Buffer): void;
  /** Every channel that is wanted is subscribed and acknowledged; what was published in between was missed. */
  onUp?(): void;
  /** From some moment before now until `onUp`, messages are missed. */
  onDown?(): void;
  /** A failure that no call reports. */
  onError?(error: SseError): void;
}

/** What a subscriber is made of. */
interface SubscriberOptions {
  /** A new connection that is not connected yet; `attempt` grows with each one, so that another master can be tried. */
  readonly connect: (attempt: number) => Redis;
  /** Publishes on the way that all messages take. */
  readonly publish: (channel: string, payload: string) => Promise<unknown>;
  /** Channel of this subscriber alone. */
  readonly probeChannel: string;
  readonly mode: PubSubMode;
  /** Milliseconds between two probes. Default 5000. */
  readonly probeMs?: number;
}

type State =
  | { readonly is: 'new' | 'closed' }
  | { readonly is: 'opening' | 'up'; readonly connection: Redis }
  | { readonly is: 'waiting'; readonly timer: NodeJS.Timeout };

const PROBE_MS = 5_000;
const CHANNELS_PER_CALL = 500;

/**
 * Subscriptions on a connection of their own. It subscribes to everything itself each time a connection is ready, probes
 * whether messages really come, and replaces a connection that broke or fell silent, with growing pauses. Delivery is that
 * of Redis Pub/Sub: at most once, in order, from `onUp` to `onDown`.
 */
export class RedisSubscriber {
  readonly #channels = new Set<string>();
  readonly #probe: LivenessProbe;
  #state: State = { is: 'new' };
  /** Connections so far. */
  #attempt = 0;
  /** Connections in a row that brought no message. */
  #fruitless = 0;

  constructor(
    private readonly options: SubscriberOptions,
    private readonly events: SubscriberEvents,
  ) {
    const { probeChannel, publish, probeMs = PROBE_MS } = options;
    const target = { publish: () => publish(probeChannel, ''), onDeaf: () => this.#replaceDeaf() };
    this.#probe = new LivenessProbe(target, probeMs);
  }

  /** Whether every wanted channel is subscribed, as far as known. */
  get up(): boolean {
    return this.#state.is === 'up';
  }

  /** Begins to connect, and goes on trying until `close`. Calling it again changes nothing. */
  open(): void {
    if (this.#state.is === 'new') this.#connect();
  }

  /**
   * Subscribes to channels and resolves when Redis has acknowledged each: what is published from then on comes.
   * When it rejects, the channels stay wanted and are subscribed with the next connection, unless `unsubscribe` is called.
   * @throws SseError `UNAVAILABLE` when there is no connection or it breaks before; `CLOSED` after `close`.
   */
  async subscribe(...channels: string[]): Promise<void> {
    const state = this.#state;
    if (state.is === 'closed')
      throw new SseError('CLOSED', 'the subscriber was closed; make another');
    for (const channel of channels) this.#channels.add(channel);
    if ((state.is !== 'up' && state.is !== 'opening') || state.connection.status !== 'ready') {
      throw new SseError('UNAVAILABLE', 'a subscription needs a connection to Redis, got none yet');
    }
    await this.#send(state.connection, channels);
  }

  /** Ends subscriptions; messages that are under way may still come. */
  unsubscribe(...channels: string[]): void {
    for (const channel of channels) this.#channels.delete(channel);
    const state = this.#state;
    if (state.is !== 'up' && state.is !== 'opening') return;
    const { connection } = state;
    if (connection.status !== 'ready' || channels.length === 0) return;
    const sent =
      this.options.mode === 'sharded'
        ? connection.sunsubscribe(...channels)
        : connection.unsubscribe(...channels);
    sent.catch((failure: unknown) => this.#lose(connection, failure));
  }

  /** Ends the connection; nothing is told afterwards. Twice is harmless. */
  close(): void {
    const state = this.#state;
    this.#state = { is: 'closed' };
    this.#probe.stop();
    this.#channels.clear();
    if (state.is === 'waiting') clearTimeout(state.timer);
    if ('connection' in state) state.connection.disconnect();
  }

  #connect(): void {
    let connection: Redis;
    try {
      connection = this.options.connect(this.#attempt++);
    } catch (failure) {
      this.#wait(failure);
      return;
    }
    this.#state = { is: 'opening', connection };
    connection.on('error', (error: unknown) => this.#report(error));
    connection.on('end', () => this.#lose(connection));
    // A Redis Cluster that moves the slot of a sharded channel ends the subscription.
    connection.on('moved', () => this.#lose(connection));
    const heard = (channel: Buffer, payload: Buffer): void =>
      this.#hear(connection, channel, payload);
    connection.on('messageBuffer', heard);
    connection.on('smessageBuffer', heard);
    connection.connect().then(
      () => this.#restore(connection),
      (failure: unknown) => this.#lose(connection, failure),
    );
  }

  async #restore(connection: Redis): Promise<void> {
    try {
      await this.#send(connection, [this.options.probeChannel, ...this.#channels]);
    } catch {
      return; // #send has given the connection up.
    }
    if (!this.#isCurrent(connection)) return;
    this.#state = { is: 'up', connection };
    this.#probe.start();
    this.events.onUp?.();
  }

  /** Resolves when all are acknowledged; otherwise the connection is given up. */
  async #send(connection: Redis, channels: readonly string[]): Promise<void> {
    const calls: Promise<unknown>[] = [];
    for (let from = 0; from < channels.length; from += CHANNELS_PER_CALL) {
      const some = channels.slice(from, from + CHANNELS_PER_CALL);
      calls.push(
        this.options.mode === 'sharded'
          ? connection.ssubscribe(...some)
          : connection.subscribe(...some),
      );
    }
    try {
      await Promise.all(calls);
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

  #replaceDeaf(): void {
    const state = this.#state;
    if (state.is !== 'up') return;
    this.#lose(state.connection, new Error('publications succeed but none arrives'));
  }

  /** Gives a connection up, if it is the present one, and plans the next. */
  #lose(connection: Redis, failure?: unknown): void {
    if (!this.#isCurrent(connection)) return;
    const wasUp = this.#state.is === 'up';
    this.#probe.stop();
    this.#wait(failure);
    connection.disconnect();
    if (wasUp) this.events.onDown?.();
  }

  #wait(failure: unknown): void {
    const timer = setTimeout(() => {
      this.#connect();
    }, backoff(this.#fruitless++));
    this.#state = { is: 'waiting', timer };
    if (failure !== undefined) this.#report(failure);
  }

  #isCurrent(connection: Redis): boolean {
    return 'connection' in this.#state && this.#state.connection === connection;
  }

  #report(failure: unknown): void {
    if (this.#state.is !== 'closed') this.events.onError?.(toSseError(failure, 'a subscription'));
  }
}

/** What a probe needs of its subscriber. */
interface ProbeTarget {
  /** Publishes to the subscriber itself, on the way that all messages take. */
  publish(): Promise<unknown>;
  /** The subscriber hears nothing although publishing works. */
  onDeaf(): void;
}

/** How often, at most, a window is doubled in effect. */
const MOST_STRETCH = 10;

/**
 * Finds a subscription that looks healthy and is dead, as after a failover. Each window it publishes to the subscriber;
 * when that succeeded and the next window ends without any message, the subscriber is deaf: at most two windows after it
 * became so. While publishing fails, nothing is concluded. Each verdict doubles the window, to ten times, until something
 * is heard.
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
    this.#timer = setTimeout(() => {
      this.#tick();
    }, this.windowMs * this.#stretch).unref();
  }

  #tick(): void {
    if (this.#state === 'published') {
      this.stop();
      this.#stretch = Math.min(this.#stretch * 2, MOST_STRETCH);
      this.target.onDeaf();
      return;
    }
    this.#state = 'quiet';
    const life = this.#life;
    this.target.publish().then(
      () => {
        // The message itself may have been quicker, or the subscriber's life may be over.
        if (life === this.#life && this.#state === 'quiet') this.#state = 'published';
      },
      () => undefined,
    );
    this.#next();
  }
}
