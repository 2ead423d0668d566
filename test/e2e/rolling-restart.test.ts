import { expect } from 'chai';
import { runRolling } from '../soak/rolling-run.js';

const RATE = 100;
// Clients of one wave of a drain; their ends may be seen with those of the second before.
const WAVE = 5;

describe('a rolling restart of three nodes under load', () => {
  it('loses and doubles no event, and lets clients come back no faster than they are sent away', async () => {
    const report = await runRolling({
      clients: 300,
      publishers: 6,
      pace: 50,
      rate: RATE,
      jitter: 2_500,
    });
    expect(report.failures).to.deep.equal([]);
    expect(report.resets).to.deep.equal({});
    expect(report.exitCodes).to.deep.equal([0, 0, 0]);
    expect(report.mostConnected).to.be.at.most(RATE);
    expect(report.mostClosed).to.be.at.most(RATE + 2 * WAVE);
    expect(report.timeless).to.equal(0);
    // It was put to the test.
    expect(report.reconnects).to.be.at.least(300);
    expect(report.mostClosed).to.be.greaterThan(RATE / 2);
    expect(report.events).to.be.greaterThan(10_000);
  }).timeout(90_000);
});
