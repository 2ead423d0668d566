import { expect } from 'chai';
import { parseAcks, MAX_ACKS } from '../../../../src/cluster/redis/frames.js';
import { MessageRouter } from '../../../../src/cluster/redis/messages.js';
import { PendingSend } from '../../../../src/cluster/redis/pending-send.js';
import type { NodeChannel } from '../../../../src/cluster/redis/cluster-node.js';
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
      { outcomeAt: () => Promise.resolve('none') },
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

describe('PendingSend', () => {
  const [owner, other] = [`a~${'0'.repeat(20)}`, `b~${'0'.repeat(20)}`];
  const GONE = { outcome: 'not-connected' } as const;

  it('believes only the owner that the connection is gone, be its answer faster than that of the script', async () => {
    const pending = new PendingSend(5_000);
    pending.onSent(0);
    pending.onAnswer(0, GONE, other);
    expect(await pending.answerBy(0)).to.equal(undefined);
    pending.onAnswer(0, GONE, owner);
    expect(await pending.answerBy(0)).to.equal(undefined);
    pending.onRouted(0, owner);
    expect(await pending.answerBy(0)).to.equal('again');
  });

  it('gets the answer of the owner after another node said that it does not have the connection', async () => {
    const pending = new PendingSend(5_000);
    pending.onSent(0);
    pending.onAnswer(0, GONE, other);
    pending.onRouted(0, owner);
    pending.onAnswer(0, GONE, other);
    expect(await pending.answerBy(0)).to.equal(undefined);
    pending.onAnswer(0, { outcome: 'delivered' }, owner);
    expect(await pending.answerBy(0)).to.deep.equal({ outcome: 'delivered', nodeId: 'a' });
  });

  it('waits for the answer to each attempt before it answers not-connected', async () => {
    const pending = new PendingSend(5_000);
    for (const attempt of [0, 1]) {
      pending.onSent(attempt);
      pending.onRouted(attempt, owner);
    }
    pending.onAnswer(0, GONE, owner);
    expect(await pending.answerBy(0)).to.equal('again');
    pending.onSent(2);
    pending.onRouted(2, owner);
    pending.onAnswer(1, GONE, owner);
    expect(await pending.answerBy(0)).to.equal(undefined);
    pending.onAnswer(2, GONE, owner);
    expect(await pending.answerBy(0)).to.deep.equal({ outcome: 'not-connected' });
  });

  it('waits for the answers that come one by one after the last attempt', async () => {
    const pending = new PendingSend(5_000);
    for (const attempt of [0, 1, 2]) {
      pending.onSent(attempt);
      pending.onRouted(attempt, owner);
    }
    const outcome = pending.outcome();
    for (const attempt of [0, 1, 2]) {
      pending.onAnswer(attempt, GONE, owner);
      await turns(2);
    }
    expect(await outcome).to.deep.equal({ outcome: 'not-connected' });
  });
});
