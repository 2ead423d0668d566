import { createHmac, timingSafeEqual } from 'node:crypto';
import type { ClusterNode } from './cluster-node.js';

/** A frame as a node receives it: behind the token of its connection, and its signature if frames are signed. */
export interface Envelope {
  /** Names the connection as the cluster knows it; `undefined` for frames that are not for one connection. */
  readonly token: string | undefined;
  readonly body: Buffer;
}

const BLANK = 0x20;
/** Stands for the token of frames that are not for one connection; no token looks like it. */
const NO_TOKEN = '-';
const MAX_TOKEN = 16;

/** Signs, publishes and verifies the frames between nodes: `<token> <signature><frame>`. */
export class NodeChannel {
  readonly #signer: FrameSigner;

  constructor(private readonly node: ClusterNode) {
    this.#signer = new FrameSigner(node.options.control.secret);
  }

  /** Whether frames are signed; frames that scripts write are not. */
  get signs(): boolean {
    return this.#signer.signs;
  }

  /** The form in which `send.lua` publishes a frame behind a token. */
  signed(frame: Buffer): Buffer {
    return this.#signer.sign(frame);
  }

  /** Publishes a frame to one node. Resolves to false when Redis counted no subscriber, so that the node is not there. */
  async publish(inc: string, frame: Buffer): Promise<boolean> {
    const { gateway } = this.node;
    const { keys } = gateway;
    const envelope = this.#envelope(frame);
    const count = await gateway.publish(keys.answerChannel(inc), envelope, keys.nodeMode);
    return count > 0 || !keys.countsReceivers;
  }

  /** Publishes a frame to all nodes, this one included. */
  async publishToAll(frame: Buffer): Promise<void> {
    const { gateway } = this.node;
    await gateway.publish(gateway.keys.controlChannel, this.#envelope(frame), 'classic');
  }

  /** The frame of a message on a node's channel; `undefined` when it has no token or a wrong signature. */
  verified(message: Buffer): Envelope | undefined {
    const end = message.subarray(0, MAX_TOKEN + 1).indexOf(BLANK);
    const body = end < 0 ? undefined : this.#signer.verify(message.subarray(end + 1));
    if (body === undefined) return undefined;
    const token = message.toString('latin1', 0, end);
    return { token: token === NO_TOKEN ? undefined : token, body };
  }

  #envelope(frame: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`${NO_TOKEN} `), this.#signer.sign(frame)]);
  }
}

const MAC_BYTES = 32;

/**
 * Lets nodes recognise frames of their own cluster in a Redis that others use as well: HMAC-SHA256 with `control.secret`
 * in front of the frame. Without a secret frames pass as they are. A signature proves that the writer knows the secret. It
 * does not prove that the frame is new: `RequestGuard` checks that for commands, the message id for events.
 */
export class FrameSigner {
  constructor(private readonly secret: string | undefined) {}

  /** Whether there is a secret. */
  get signs(): boolean {
    return this.secret !== undefined;
  }

  /** The frame behind its signature. */
  sign(frame: Buffer): Buffer {
    return this.secret === undefined ? frame : Buffer.concat([mac(this.secret, frame), frame]);
  }

  /** The frame that was signed; `undefined` when it was not signed with the same secret. */
  verify(signed: Buffer): Buffer | undefined {
    if (this.secret === undefined) return signed;
    if (signed.length < MAC_BYTES) return undefined;
    const frame = signed.subarray(MAC_BYTES);
    return timingSafeEqual(mac(this.secret, frame), signed.subarray(0, MAC_BYTES)) ? frame : undefined;
  }
}

function mac(secret: string, frame: Buffer): Buffer {
  return createHmac('sha256', secret).update(frame).digest();
}
