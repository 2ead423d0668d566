import { expect } from 'chai';
import { runLedger } from '../soak/ledger-run.js';
import { amount } from '../support/extent.js';

const NODE_KILLS = 2;
const PUBLISHED = 300;
const SUBSCRIPTION_KILLS = 51;

describe('nothing published is silently missed', () => {
  it('while subscriptions break, nodes are killed, and Redis comes back with and without its data', async () => {
    const { failures, events, reportedGaps, falseAlarms, ...broken } = await runLedger({
      redis: 'single',
      seconds: amount(6, 12),
      clients: amount(24, 40),
      publishers: 6,
      pace: 60,
      killEvery: amount(2_000, 4_000),
      least: { nodes: NODE_KILLS, subscriptions: SUBSCRIPTION_KILLS, published: PUBLISHED },
    });
    expect(failures).to.deep.equal([]);
    expect(falseAlarms).to.equal(0);
    // It was put to the test.
    expect(events).to.be.greaterThan(2 * PUBLISHED);
    expect(reportedGaps).to.be.greaterThan(0);
    expect(broken).to.include({ redisRestarts: 2 });
    expect(broken.nodeKills).to.be.at.least(NODE_KILLS);
    expect(broken.pubsubKills).to.be.at.least(SUBSCRIPTION_KILLS);
  }).timeout(180_000);
});
