import { expect } from 'chai';
import { runRolling } from '../soak/rolling-run.js';
import { amount } from '../support/extent.js';

const RATE = amount(20, 100);
const CLIENTS = 3 * RATE;
// Clients of one wave of a drain, of which there are twenty a second.
const WAVE = RATE / 20;

describe('a rolling restart of three nodes under load', () => {
  it('loses and doubles no event, and spreads the reconnections of clients', async () => {
    const report = await runRolling({
      clients: CLIENTS,
      publishers: amount(2, 6),
      pace: amount(80, 50),
      rate: RATE,
      jitter: 4_000,
    });
    expect(report.failures).to.deep.equal([]);
    expect(report.resets).to.deep.equal({});
    expect(report.exitCodes).to.deep.equal([0, 0, 0]);
    // What this process saw late, it saw together with what came later; two waves may be seen together always.
    const seconds = 1 + report.latestMs / 1_000;
    expect(report.mostRequested).to.be.at.most(RATE * seconds);
    expect(report.mostClosed).to.be.at.most(RATE * seconds + 2 * WAVE);
    expect(report.timeless).to.equal(0);
    // It was put to the test.
    expect(report.reconnects).to.be.at.least(CLIENTS);
    expect(report.mostClosed).to.be.greaterThan(RATE / 2);
    expect(report.events).to.be.greaterThan(amount(5_000, 10_000));
  }).timeout(180_000);
});
