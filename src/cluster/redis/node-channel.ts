import type { ClusterNode } from './cluster-node.js';
import type { Partition } from './keys.js';
import type { Purpose } from './signing.js';

/** A frame as a node receives it: behind the token of its connection, and its signature if frames are signed. */
export interface Envelope {
  /** Names the connection as the cluster knows it; `undefined` for frames that are not for one connection. */
  readonly token: string | undefined;
  /** It was signed before the connection was registered here: for a former owner of the id, or recorded. */
  readonly late: boolean;
  readonly body: Buffer;
}

const BLANK = 0x20;
/** Stands for the token of frames that are not for one connection; no token looks like it. */
const NO_TOKEN = '-';
const MAX_TOKEN = 16;
/** A receiver accepts the number of any partition. */
const MESSAGE: Purpose = { kind: 'message', partition: 0 };
const ALL_NODES: Purpose = { kind: 'all-nodes' };

/** Signs, publishes and verifies the frames between nodes: `<token> <signature><frame>`. */
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
