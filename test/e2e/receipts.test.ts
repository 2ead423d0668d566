import { expect } from 'chai';
import { runHeap, type HeapReport } from '../soak/heap-run.js';
import { runReceipts, type ReceiptReport } from '../soak/receipt-run.js';

const OUTCOMES = ['delivered', 'unavailable', 'unknown', 'stored'] as const;

// Longer, and with more: test/soak/outage.ts.
describe('sends during outages', function () {
  this.timeout(180_000);
  let running: { heap: Promise<HeapReport>; receipts: Promise<ReceiptReport> };

  before(() => {
    running = {
      heap: runHeap('killed', 5_000, 6),
      receipts: runReceipts({ rate: 1_000, seconds: 6, outage: 1_000, pause: 500, least: OUTCOMES }),
    };
    for (const run of Object.values(running)) run.catch(() => undefined);
  });

  it('have correct receipts: the client has, has not, or may have the event', async () => {
    const { failures, receipts, longestMs, latestMs, ...broken } = await running.receipts;
    expect(failures).to.deep.equal([]);
    // Their deadline is three seconds, of a loop that is not late itself.
    expect(longestMs).to.be.lessThan(3_000 + 2 * latestMs + 500);
    // It was put to the test.
    expect(receipts).to.include.keys(...OUTCOMES);
    expect(broken.kills).to.be.greaterThan(0);
    expect(broken.freezes).to.be.greaterThan(0);
  });

  it('accumulate no memory', async () => {
    const { growth, receipts, heap } = await running.heap;
    expect(receipts).to.have.all.keys('unavailable');
    expect(heap).to.have.length.greaterThan(1);
    expect(growth).to.be.lessThan(4);
  });
});
