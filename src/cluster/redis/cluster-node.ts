import type { ClusterListener } from '../../contracts/listener.js';
import type { Logger } from '../../contracts/logger.js';
import type { MaintenanceTelemetry } from '../../contracts/telemetry.js';
import type { SseError } from '../../errors.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { ANSWER_KIND, REQUEST_KIND } from './command-frames.js';
import {
  type Ack,
  ACK_KIND,
  type MessageFrame,
  parseAcks,
  parseMessage,
  parseSuperseded,
  SAME_NODES,
  type SupersededFrame,
} from './frames.js';
import type { RedisGateway } from './gateway.js';
import type { Partition } from './keys.js';
import type { FrameSigner, Purpose, RedisClock } from './signing.js';
import type { RedisSubscriber } from './subscriber.js';

/** The values that the parts of a coordinator share: the identity of this node, its gateway to Redis, and its listener. */
export interface ClusterNode {
  readonly nodeId: string;
  /** This life of the node. */
  readonly inc: string;
  readonly options: ResolvedSseOptions;
  readonly gateway: RedisGateway;
  /** Reads the log on a connection of its own: its size and lateness delay no other call. */
  readonly reading: RedisGateway;
  readonly clock: RedisClock;
  readonly signer: FrameSigner;
  readonly listener: ClusterListener;
  readonly logger: Logger;
  readonly telemetry: MaintenanceTelemetry;
}

/** A frame as a node receives it: behind the token of its connection, and its signature if frames are signed. */
interface Envelope {
  /** Names the connection as the cluster knows it; `undefined` for frames that are not for one connection. */
  readonly token: string | undefined;
  /** It was signed before the connection was registered here: for a former owner of the id, or recorded. */
  readonly late: boolean;
  readonly body: Buffer;
}

const BLANK = 0x20;
const ZERO = 0x30;
/** First byte of messages that `send.lua` joined; no other frame begins with it. */
const PLUS = 0x2b;
/** Stands for the token of frames that are not for one connection; no token looks like it. */
const NO_TOKEN = '-';
const MAX_TOKEN = 16;
/** A receiver accepts the number of any partition. */
const MESSAGE: Purpose = { kind: 'message', partition: 0 };
const ALL_NODES: Purpose = { kind: 'all-nodes' };

/** Signs, publishes and verifies the frames between nodes: `<token> <signature><frame>`. `send.lua` joins several in one publication. */
export class NodeChannel {
  constructor(private readonly node: ClusterNode) {}

  /** A message in the form in which `send.lua` publishes it behind a token. */
  signed({ number }: Partition, frame: Buffer): Buffer {
    const { signer } = this.node;
    return signer.signs ? signer.sign({ kind: 'message', partition: number }, frame) : frame;
  }

  /** Publishes a frame to one node. Resolves to false when Redis counted no subscriber, so that the node is not there. */
  async publish(inc: string, frame: Buffer): Promise<boolean> {
    const { gateway } = this.node;
    const { keys } = gateway;
    const envelope = this.#envelope({ kind: 'node', inc }, frame);
    const count = await gateway.publish(keys.answerChannel(inc), envelope, keys.nodeMode);
    return count > 0 || !keys.countsReceivers;
  }

  /** Publishes a frame to all nodes, this one included. */
  async publishToAll(frame: Buffer): Promise<void> {
    const { gateway } = this.node;
    await gateway.publish(gateway.keys.controlChannel, this.#envelope(ALL_NODES, frame), 'classic');
  }

  /**
   * The frame of a message on a channel of this node, or of all nodes. `undefined` when it has no token, and where frames
   * are signed when it is not authentic, too old, or received before.
   */
  verified(channel: string, message: Buffer): Envelope | undefined {
    const end = message.subarray(0, MAX_TOKEN + 1).indexOf(BLANK);
    if (end < 0) return undefined;
    const name = message.toString('latin1', 0, end);
    const token = name === NO_TOKEN ? undefined : name;
    const { signer } = this.node;
    const verdict = signer.verify(this.#purposeOf(channel, token), message.subarray(end + 1));
    if (verdict.kind !== 'fresh') return undefined;
    return { token, late: token !== undefined && !signer.isFor(token, verdict.at), body: verdict.body };
  }

  #purposeOf(channel: string, token: string | undefined): Purpose {
    if (token !== undefined) return MESSAGE;
    return channel === this.node.gateway.keys.controlChannel ? ALL_NODES : { kind: 'node', inc: this.node.inc };
  }

  #envelope(purpose: Purpose, frame: Buffer): Buffer {
    return this.node.signer.sign(purpose, frame, `${NO_TOKEN} `);
  }
}

/**
 * The messages that `send.lua` joined in one publication: `+ `, and for each `<length> <message>`. Each is a slice. `undefined`
 * for what the script cannot have written.
 */
export function parseJoined(publication: Buffer): readonly Buffer[] | undefined {
  if (publication[1] !== BLANK) return undefined;
  const messages: Buffer[] = [];
  for (let at = 2; at < publication.length;) {
    let [end, length] = [at, 0];
    for (; publication[end] !== BLANK; end += 1) {
      const digit = (publication[end] ?? 0) - ZERO;
      if (digit < 0 || digit > 9) return undefined;
      length = 10 * length + digit;
    }
    const next = end + 1 + length;
    if (length === 0 || next > publication.length) return undefined;
    messages.push(publication.subarray(end + 1, next));
    at = next;
  }
  return messages;
}

/** The parts of a node that the cluster reaches through its inbox. Nothing comes before `open`. */
export interface InboxParts {
  readonly router: {
    /** Messages wait for the others that arrived together with them. */
    onMessage(token: string, message: MessageFrame, late: boolean): void;
    /** To be called before a frame of another kind has an effect, so that frames have theirs in the order in which they came. */
    deliverArrived(): void;
    onAcks(from: string, acks: readonly Ack[]): void;
  };
  /** Both return whether this version knows the frame, and it was not received before. */
  readonly bus: { onRequest(frame: Buffer): boolean; onAnswer(frame: Buffer): boolean };
  readonly feed: { onFrame(channel: string, frame: Buffer): void; onUp(): void; onDown(): void };
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
        else {
          parts.router.deliverArrived();
          parts.feed.onFrame(channel, message);
        }
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

  /** A publication on a channel of this node, or of all nodes: one frame, or several messages. */
  #onNodeMessage(channel: string, publication: Buffer): void {
    const messages = publication[0] === PLUS ? parseJoined(publication) : [publication];
    if (messages === undefined) this.#drop();
    else for (const message of messages) if (!this.#dispatch(channel, message)) this.#drop();
  }

  #drop(): void {
    this.#dropped += 1;
    if (this.#dropped % DROPS_PER_LINE !== 1) return;
    const dropped = this.#dropped;
    this.node.logger.warn(`a frame from another node was not understood and dropped; ${SAME_NODES}`, { dropped });
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
    this.parts.router.deliverArrived();
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
