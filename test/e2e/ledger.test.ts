import { expect } from 'chai';
import { runLedger } from '../soak/ledger-run.js';

describe('nothing published is silently missed', () => {
  it('while subscriptions break, nodes are killed, and Redis comes back with and without its data', async () => {
    const { failures, events, toldHoles, falseAlarms, ...broken } = await runLedger({
      redis: 'single',
      seconds: 12,
      clients: 40,
      publishers: 6,
      pace: 60,
      killEvery: 4_000,
    });
    expect(failures).to.deep.equal([]);
    expect(falseAlarms).to.equal(0);
    // It was put to the test.
    expect(events).to.be.greaterThan(1_000);
    expect(toldHoles).to.be.greaterThan(0);
    expect(broken).to.include({ redisRestarts: 2 });
    expect(broken.nodeKills).to.be.greaterThan(1);
    expect(broken.pubsubKills).to.be.greaterThan(50);
  }).timeout(90_000);
});
