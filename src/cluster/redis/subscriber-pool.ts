import type { SseError } from '../../errors.js';
import type { RedisGateway } from './gateway.js';
import type { RedisSubscriber } from './subscriber.js';

/** What the pool tells. None may throw. */
interface PoolEvents {
  /** For this node, or for all nodes. */
  onNodeFrame(frame: Buffer): void;
  /** From a channel of the log. */
  onLogFrame(channel: string, frame: Buffer): void;
  /** All channels of the log that are wanted are subscribed; what was published before was missed. */
  onLogUp(): void;
  onLogDown(): void;
  /** As {@link onLogUp}, for frames to this node. */
  onNodeUp(): void;
  onError(error: SseError): void;
}

/**
 * The node's subscriptions on as few connections as they need: one on a single Redis. In a Redis Cluster the log has its
 * own, at the master that writes it, and sharded node channels have one at each partition's master.
 */
export class SubscriberPool {
  /** Carries the channels of the log. */
  readonly log: RedisSubscriber;
  readonly #all: RedisSubscriber[] = [];

  constructor(
    private readonly gateway: RedisGateway,
    private readonly inc: string,
    private readonly events: PoolEvents,
  ) {
    const { keys } = gateway;
    const channels = keys.nodeChannels(inc);
    if (keys.logMode === 'classic') {
      this.log = this.#make(0, 'classic', [keys.controlChannel, ...channels], undefined, true);
      return;
    }
    this.log = this.#make(0, 'sharded', [], keys.logMeta, true);
    if (keys.nodeMode === 'classic') {
      this.#make(1, 'classic', [keys.controlChannel, ...channels]);
      return;
    }
    this.#make(1, 'classic', [keys.controlChannel]);
    channels.forEach((channel, at) => this.#make(2 + at, 'sharded', [channel], channel));
  }

  /** Whether every wanted channel is subscribed, as far as known. */
  get up(): boolean {
    return this.#all.every(({ up }) => up);
  }

  open(): void {
    for (const subscriber of this.#all) subscriber.open();
  }

  close(): void {
    for (const subscriber of this.#all) subscriber.close();
  }

  #make(
    number: number,
    mode: 'classic' | 'sharded',
    nodeChannels: readonly string[],
    near?: string,
    log = false,
  ): RedisSubscriber {
    const mine = new Set(nodeChannels);
    const subscriber = this.gateway.subscriber(
      mode,
      `${this.inc}:${number}`,
      {
        onMessage: (channel, frame) => {
          if (mine.has(channel)) this.events.onNodeFrame(frame);
          else this.events.onLogFrame(channel, frame);
        },
        onUp: () => {
          if (mine.size > 0) this.events.onNodeUp();
          if (log) this.events.onLogUp();
        },
        onDown: () => {
          if (log) this.events.onLogDown();
        },
        onError: error => {
          this.events.onError(error);
        },
      },
      near,
    );
    // Wanted from the first connection on; it cannot succeed before there is one.
    subscriber.subscribe(...nodeChannels).catch(() => undefined);
    this.#all.push(subscriber);
    return subscriber;
  }
}
