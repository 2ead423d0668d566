import { expect } from 'chai';
import sinon from 'sinon';
import { NodeLeases } from '../../../../src/cluster/redis/leases.js';
import { codeOf } from '../../../support/code-of.js';
import { scriptedNode } from '../../../support/redis/scripted-node.js';

const QUIET = {
  onOpened: () => undefined,
  onBeat: () => undefined,
  onTrouble: () => undefined,
  onRecovered: () => undefined,
};

describe('NodeLeases', () => {
  it('opens nothing any more once the node leaves', async () => {
    let asked = 0;
    const node = scriptedNode(() => {
      asked += 1;
      const lease = { gen: '1', epoch: 'e' };
      return { status: 'OPENED', lease, owned: 0, nowMicros: 1_000 };
    });
    const [partition] = node.gateway.keys.partitions;
    const leases = new NodeLeases(node, QUIET);
    leases.stop();
    expect(await codeOf(leases.reopen(partition!))).to.equal('CLOSED');
    expect(asked).to.equal(0);
  });

  it('are steady after the time of a lease without a break; a late heartbeat is a break', async () => {
    const clock = sinon.useFakeTimers({ toFake: ['performance'] });
    try {
      const lease = { gen: '1', epoch: 'e' };
      const node = scriptedNode(() => ({ status: 'RENEWED', lease, owned: 0, nowMicros: 1_000 }));
      const [partition] = node.gateway.keys.partitions;
      const { heartbeat, lease: leaseMs } = node.options.node;
      const leases = new NodeLeases(node, QUIET);
      const renewFor = async (ms: number): Promise<void> => {
        for (let at = 0; at <= ms; at += heartbeat) {
          await leases.reopen(partition!);
          clock.tick(heartbeat);
        }
      };
      await renewFor(leaseMs);
      expect(leases.isSteady(partition!)).to.equal(true);
      clock.tick(heartbeat + 1);
      expect(leases.isSteady(partition!)).to.equal(false);
      await leases.reopen(partition!);
      expect(leases.isSteady(partition!)).to.equal(false);
      await renewFor(leaseMs);
      expect(leases.isSteady(partition!)).to.equal(true);
    } finally {
      clock.restore();
    }
  });
});
