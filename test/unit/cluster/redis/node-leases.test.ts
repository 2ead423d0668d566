import { expect } from 'chai';
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
});
