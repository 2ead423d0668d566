import type { SseError } from '../../errors.js';
import type { ClusterNode } from './cluster-node.js';
import { ANSWER_KIND, REQUEST_KIND } from './command-frames.js';
import type { CommandBus } from './commands.js';
import type { LogFeed } from './feed.js';
import { ACK_KIND, parseAcks, parseMessage, parseSuperseded, type SupersededFrame } from './frames.js';
import type { MessageRouter } from './messages.js';
import type { NodeChannel } from './node-channel.js';
import type { RedisSubscriber } from './subscriber.js';

/** The parts of a node that the cluster reaches through its inbox. Nothing comes before `open`. */
export interface InboxParts {
  readonly router: Pick<MessageRouter, 'onMessage' | 'onAcks'>;
  readonly bus: Pick<CommandBus, 'onRequest' | 'onAnswer'>;
  readonly feed: Pick<LogFeed, 'onFrame' | 'onUp' | 'onDown'>;
  /** Another registration took an id over; resolves when that was looked at. Never rejects. */
  onSuperseded(frame: SupersededFrame): Promise<void>;
  /** The channels of this node are subscribed; frames that were published before are lost. */
  onNodeUp(): void;
  /** A connection for subscriptions failed; a new one is tried. */
  onError(error: SseError): void;
}

const BRACE = 0x7b;
const KIND_LENGTH = ACK_KIND.length;
const DROPS_PER_LINE = 1_000;
/** Notices of takeovers that may wait, and whose routes are read at once. */
const MAX_HINTS = 10_000;
const MAX_READING = 32;

/**
 * Everything that the cluster sends to this node: subscribes, and dispatches each frame by its kind. A frame that this
 * version does not know is counted and dropped.
 *
 * Subscriptions are on as few connections as they need: one on a single Redis. In a Redis Cluster the log has its own, at
 * the master that writes it, and sharded node channels have one at each partition's master.
 */
export class NodeInbox {
  /** Carries the channels of the log. */
  readonly log: RedisSubscriber;
  readonly #subscribers: RedisSubscriber[] = [];
  #dropped = 0;
  /** Notices of takeovers that wait, by connection id, and those whose routes are read. */
  readonly #hints = new Map<string, SupersededFrame>();
  readonly #reading = new Set<string>();

  constructor(
    private readonly node: ClusterNode,
    private readonly channel: NodeChannel,
    private readonly parts: InboxParts,
  ) {
    const { keys } = node.gateway;
    const channels = keys.nodeChannels(node.inc);
    if (keys.logMode === 'classic') {
      this.log = this.#subscriber('classic', [keys.controlChannel, ...channels], { log: true });
      return;
    }
    this.log = this.#subscriber('sharded', [], { near: keys.logMeta, log: true });
    if (keys.nodeMode === 'classic') {
      this.#subscriber('classic', [keys.controlChannel, ...channels]);
      return;
    }
    this.#subscriber('classic', [keys.controlChannel]);
    for (const near of channels) this.#subscriber('sharded', [near], { near });
  }

  /** Whether every wanted channel is subscribed, as far as known. */
  get up(): boolean {
    return this.#subscribers.every(({ up }) => up);
  }

  /** Begins to connect, and goes on trying until `close`. */
  open(): void {
    for (const subscriber of this.#subscribers) subscriber.open();
  }

  /** Ends every subscription. Twice is harmless. */
  close(): void {
    for (const subscriber of this.#subscribers) subscriber.close();
  }

  /** @param near a channel or key of the slot whose master has the channels; `log`: carries the log as well */
  #subscriber(
    mode: 'classic' | 'sharded',
    nodeChannels: readonly string[],
    { near, log = false }: { readonly near?: string; readonly log?: boolean } = {},
  ): RedisSubscriber {
    const { parts } = this;
    const mine = new Set(nodeChannels);
    const events = {
      onMessage: (channel: string, message: Buffer) => {
        if (mine.has(channel)) this.#onNodeMessage(channel, message);
        else parts.feed.onFrame(channel, message);
      },
      onUp: () => {
        if (mine.size > 0) parts.onNodeUp();
        if (log) parts.feed.onUp();
      },
      onDown: () => {
        if (log) parts.feed.onDown();
      },
      onError: (error: SseError) => parts.onError(error),
    };
    const id = `${this.node.inc}:${this.#subscribers.length}`;
    const subscriber = this.node.gateway.subscriber(mode, id, events, near);
    // Wanted from the first connection on; it cannot succeed before there is one.
    subscriber.subscribe(nodeChannels).catch(() => undefined);
    this.#subscribers.push(subscriber);
    return subscriber;
  }

  /** The frame is no more than a hint, which anyone can write: a flood of them costs few calls at once. */
  #onSuperseded(frame: SupersededFrame): void {
    // One that does not fit is found when the node reconciles.
    if (this.#hints.size >= MAX_HINTS || !this.node.listener.holds(frame.connectionId, frame.token)) return;
    this.#hints.set(frame.connectionId, frame);
    if (this.#reading.size < MAX_READING) void this.#readHints();
  }

  async #readHints(): Promise<void> {
    for (const [connectionId, frame] of this.#hints) {
      if (this.#reading.has(connectionId)) continue;
      this.#hints.delete(connectionId);
      this.#reading.add(connectionId);
      await this.parts.onSuperseded(frame);
      this.#reading.delete(connectionId);
    }
  }

  /** A message on a channel of this node, or of all nodes. */
  #onNodeMessage(channel: string, message: Buffer): void {
    if (this.#dispatch(channel, message)) return;
    this.#dropped += 1;
    if (this.#dropped % DROPS_PER_LINE !== 1) return;
    this.node.logger.warn('a frame from another node was not understood and dropped', {
      dropped: this.#dropped,
    });
  }

  /** Returns whether the message is a frame that this version knows, and that was not received before. */
  #dispatch(channel: string, message: Buffer): boolean {
    // Scripts write JSON without a token.
    if (message[0] === BRACE) {
      const superseded = parseSuperseded(message);
      if (superseded !== undefined) this.#onSuperseded(superseded);
      return superseded !== undefined;
    }
    const envelope = this.channel.verified(channel, message);
    if (envelope === undefined) return false;
    const { token, late, body } = envelope;
    if (token !== undefined) {
      const frame = parseMessage(body);
      if (frame !== undefined) this.parts.router.onMessage(token, frame, late);
      return frame !== undefined;
    }
    switch (body.toString('latin1', 0, KIND_LENGTH)) {
      case ACK_KIND: {
        const frame = parseAcks(body);
        if (frame !== undefined) this.parts.router.onAcks(frame.from, frame.acks);
        return frame !== undefined;
      }
      case REQUEST_KIND:
        return this.parts.bus.onRequest(body);
      case ANSWER_KIND:
        return this.parts.bus.onAnswer(body);
      default:
        return false;
    }
  }
}
