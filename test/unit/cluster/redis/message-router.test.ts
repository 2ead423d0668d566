import { expect } from 'chai';
import { parseAcks, MAX_ACKS } from '../../../../src/cluster/redis/frames.js';
import { MessageRouter } from '../../../../src/cluster/redis/messages.js';
import type { NodeChannel } from '../../../../src/cluster/redis/node-channel.js';
import { scriptedNode } from '../../../support/redis/scripted-node.js';
import { turns } from '../../../support/turns.js';

const SENDER = `s~${'1'.repeat(20)}`;

describe('MessageRouter', () => {
  it('acknowledges what came in one turn together, in as many frames as that needs', async () => {
    const frames: Buffer[] = [];
    const channel = {
      publish: async (_to: string, frame: Buffer) => {
        frames.push(frame);
        return true;
      },
    };
    // As much of a channel as acknowledgements need.
    const router = new MessageRouter(
      scriptedNode(() => []),
      channel as unknown as NodeChannel,
      { epochOf: () => 'e' },
    );
    const count = 2 * MAX_ACKS + 1;
    for (let n = 0; n < count; n += 1) {
      const [attempt, messageId] = [`${n.toString(36)}.0`, `m${n}`];
      const bytes = Buffer.from('data: x\n\n');
      const message = { from: SENDER, ack: true, connectionId: 'c1', trace: undefined, bytes };
      router.onMessage('t1', { ...message, attempt, messageId });
    }
    await turns(2);
    const acks = frames.map(frame => parseAcks(frame)?.acks.length);
    expect(acks).to.deep.equal([MAX_ACKS, MAX_ACKS, 1]);
  });
});
