import type { ClusterNode } from './cluster-node.js';
import {
  type Ack,
  ACK_KIND,
  ANSWER_KIND,
  type CommandAnswer,
  type CommandRequest,
  decodeAcks,
  decodeAnswer,
  decodeMessage,
  decodeRequest,
  decodeSuperseded,
  decodeUnknownRequest,
  type FrameSeal,
  MESSAGE_KIND,
  type MessageFrame,
  REQUEST_KIND,
  type SupersededNotice,
} from './frames.js';

/** Whoever handles what comes from other nodes. None may throw. */
interface NodeChannelEvents {
  /** `token` names the connection as the cluster knows it. */
  onMessage(token: string, message: MessageFrame): void;
  onAcks(from: string, acks: readonly Ack[]): void;
  onSuperseded(notice: SupersededNotice): void;
  /** Returns whether it is to be believed: not too old, and not seen before. */
  onRequest(request: CommandRequest): boolean;
  onUnknownRequest(request: Pick<CommandRequest, 'id' | 'from' | 'to'>): void;
  onAnswer(answer: CommandAnswer): void;
}

const BRACE = 0x7b;
const BLANK = 0x20;
/** In front of frames that are not for one connection; no token looks like it. */
const NO_TOKEN = '-';
const MAX_TOKEN = 16;
const DROPS_PER_LINE = 1_000;

/**
 * Frames between nodes: told apart by their first bytes, each with its version, validated before anybody acts on them.
 * What this version does not know is counted and dropped.
 */
export class NodeChannel {
  #dropped = 0;

  constructor(
    private readonly node: ClusterNode,
    private readonly seal: FrameSeal,
    private readonly events: NodeChannelEvents,
  ) {}

  /** Frames that were no frame of ours. */
  get dropped(): number {
    return this.#dropped;
  }

  /** To be given every message of this node's channels. */
  onFrame(frame: Buffer): void {
    if (!this.#dispatch(frame)) this.#drop();
  }

  /** The form in which `send.lua` publishes a frame behind a token. */
  sealed(frame: Buffer): Buffer {
    return this.seal.seal(frame);
  }

  /** Publishes a frame to one node. Resolves to false when Redis counted no subscriber, so that the node is not there. */
  async publish(inc: string, frame: Buffer): Promise<boolean> {
    const { gateway } = this.node;
    const { keys } = gateway;
    const count = await gateway.publish(
      keys.answerChannel(inc),
      Buffer.concat([Buffer.from(`${NO_TOKEN} `), this.seal.seal(frame)]),
      keys.nodeMode,
    );
    return count > 0 || !keys.countsReceivers;
  }

  /** Publishes a frame to all nodes, this one included. */
  async publishToAll(frame: Buffer): Promise<void> {
    const { gateway } = this.node;
    const envelope = Buffer.concat([Buffer.from(`${NO_TOKEN} `), this.seal.seal(frame)]);
    await gateway.publish(gateway.keys.controlChannel, envelope, 'classic');
  }

  /** Returns whether it was a frame of ours. */
  #dispatch(frame: Buffer): boolean {
    if (frame[0] === BRACE) {
      const notice = decodeSuperseded(frame);
      if (notice !== undefined) this.events.onSuperseded(notice);
      return notice !== undefined;
    }
    const end = frame.subarray(0, MAX_TOKEN + 1).indexOf(BLANK);
    const body = end < 0 ? undefined : this.seal.open(frame.subarray(end + 1));
    if (body === undefined) return false;
    const token = frame.toString('latin1', 0, end);
    if (token !== NO_TOKEN) {
      const message = decodeMessage(body);
      if (message !== undefined) this.events.onMessage(token, message);
      return message !== undefined;
    }
    return this.#dispatchControl(body);
  }

  #dispatchControl(body: Buffer): boolean {
    switch (body.toString('latin1', 0, MESSAGE_KIND.length)) {
      case ACK_KIND: {
        const acks = decodeAcks(body);
        if (acks !== undefined) this.events.onAcks(acks.from, acks.acks);
        return acks !== undefined;
      }
      case REQUEST_KIND: {
        const request = decodeRequest(body);
        if (request === undefined) return this.#refuse(body);
        const mine = request.to === undefined || request.to === this.node.inc;
        return !mine || this.events.onRequest(request);
      }
      case ANSWER_KIND: {
        const answer = decodeAnswer(body);
        if (answer !== undefined) this.events.onAnswer(answer);
        return answer !== undefined;
      }
      default:
        return false;
    }
  }

  /** A newer node asks for something that this version does not know. */
  #refuse(body: Buffer): false {
    const unknown = decodeUnknownRequest(body);
    if (unknown !== undefined && (unknown.to === undefined || unknown.to === this.node.inc)) {
      this.events.onUnknownRequest(unknown);
    }
    return false;
  }

  #drop(): void {
    this.#dropped += 1;
    if (this.#dropped % DROPS_PER_LINE !== 1) return;
    this.node.logger.warn('a frame from another node was not understood and dropped', {
      dropped: this.#dropped,
    });
  }
}
