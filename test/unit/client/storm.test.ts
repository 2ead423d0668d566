import { expect } from 'chai';
import sinon from 'sinon';
import { connect, type FetchInit, type SseStream } from '../../../src/client/index.js';
import { amount } from '../../support/extent.js';
import { ScriptedRequest } from '../../support/scripted-fetch.js';

const CLIENTS = amount(250, 1_000);
const OUTAGE_MS = 20_000;
const SLICE_MS = 100;
/** What Chromium waits between two attempts of a native EventSource, every time, when the server sends no `retry:`. */
const NATIVE_MS = 3_000;

/** Requests in the fullest slice of time. */
function peakOf(requests: readonly number[]): number {
  const slices = new Map<number, number>();
  for (const at of requests) {
    const slice = Math.floor(at / SLICE_MS);
    slices.set(slice, (slices.get(slice) ?? 0) + 1);
  }
  return Math.max(...slices.values());
}

describe('client: many streams whose node goes away', () => {
  let clock: sinon.SinonFakeTimers;
  let streams: SseStream[] = [];

  beforeEach(() => {
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
  });
  afterEach(() => {
    for (const stream of streams) stream.close();
    streams = [];
    clock.restore();
  });

  it('come back spread over time, while native ones would come all at once, again and again', async () => {
    let up = true;
    let open: ScriptedRequest[] = [];
    const requests: number[] = [];
    const fetch = (url: string, init: FetchInit): Promise<Response> => {
      requests.push(Date.now());
      if (!up) return Promise.reject(new TypeError('connection refused'));
      const request = new ScriptedRequest(url, init);
      request.open();
      open.push(request);
      return request.response;
    };
    streams = Array.from({ length: CLIENTS }, () => connect('http://server.test/', { fetch, silence: false }));
    await clock.tickAsync(10_000);
    expect(open).to.have.length(CLIENTS);

    const left = open;
    open = [];
    requests.length = 0;
    const goneAt = Date.now();
    up = false;
    for (const request of left) request.fail('the node is gone');
    await clock.tickAsync(OUTAGE_MS);
    up = true;
    await clock.tickAsync(40_000);
    expect(open, 'streams that are back').to.have.length(CLIENTS);

    const times = requests.map(at => at - goneAt);
    // The first attempts come within half a second, the later ones ever further apart.
    expect(peakOf(times.slice(0, CLIENTS)), 'the first attempts').to.be.below(CLIENTS / 3);
    expect(peakOf(times.filter(at => at > 5_000)), 'from the fifth second on').to.be.below(CLIENTS / 9);
    expect(peakOf(times.filter(at => at > OUTAGE_MS)), 'at the node that is back').to.be.below(CLIENTS / 15);
    const native = Array.from({ length: CLIENTS }, () => [1, 2, 3, 4, 5, 6, 7].map(attempt => attempt * NATIVE_MS));
    expect(peakOf(native.flat())).to.equal(CLIENTS);
    expect(times.length).to.be.below(native.flat().length);
  });
});
