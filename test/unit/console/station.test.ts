import { expect } from 'chai';
import sinon from 'sinon';
import type { Sample } from '../../../src/console/answers.js';
import { Station } from '../../../src/console/station.js';
import { isFlag, isShape } from '../../../src/console/shape.js';
import { createTestCluster, type TestCluster } from '../../../src/testing/index.js';

const isActivity = isShape<{ readonly recording: boolean }>({ recording: isFlag });

describe('Station', () => {
  let clock: sinon.SinonFakeTimers;
  let cluster: TestCluster;
  let a: Station;
  let b: Station;

  beforeEach(async () => {
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'Date', 'performance'] });
    cluster = await createTestCluster({ nodes: 3 });
    a = Station.of(cluster.node('a').sse);
    b = Station.of(cluster.node('b').sse);
    await clock.tickAsync(100);
  });

  afterEach(async () => {
    const closed = cluster.close();
    // Not all timers: a job has always one more.
    await clock.tickAsync(10_000);
    clock.restore();
    await closed;
  });

  /** An answer, with the milliseconds until it came, in tens: the clock adds one for each immediate. */
  async function ask() {
    const startedAt = Date.now();
    let ms = 0;
    const asked = a.ask({ kind: 'activity' }, isActivity).then(answers => {
      ms = Math.floor((Date.now() - startedAt) / 10) * 10;
      return answers;
    });
    await clock.tickAsync(2_000);
    const { parts, missing, cutOff } = await asked;
    return { ms, from: [...parts.keys()].sort(), missing, cutOff };
  }

  it('samples each node from when somebody looks, and no longer than six seconds after the last news of that', async () => {
    const samples = new Map<string, Sample>();
    a.onSample = (nodeId, sample) => samples.set(nodeId, sample);
    expect([a.recorder, b.recorder]).to.deep.equal([undefined, undefined]);
    a.watch();
    await clock.tickAsync(2_500);
    expect([...samples.keys()].sort()).to.deep.equal(['a', 'b']);
    expect(samples.get('b')?.reading).to.include({ nodeId: 'b', phase: 'started', lease: 'held' });
    await clock.tickAsync(2_000);
    a.watch();
    await clock.tickAsync(5_000);
    expect([a.recorder, b.recorder]).to.not.include(undefined);
    await clock.tickAsync(2_500);
    expect([a.recorder, b.recorder]).to.deep.equal([undefined, undefined]);
  });

  it('waits once for a node without a console', async () => {
    expect(await ask()).to.deep.equal({ ms: 1_000, from: ['a', 'b'], missing: [], cutOff: false });
    expect(await ask()).to.deep.equal({ ms: 0, from: ['a', 'b'], missing: [], cutOff: false });
  });

  it('names a node that has a console and does not answer, until it answers again', async () => {
    await ask();
    cluster.cut('b');
    expect(await ask()).to.deep.equal({ ms: 1_000, from: ['a'], missing: ['b'], cutOff: false });
    cluster.heal('b');
    expect(await ask()).to.deep.equal({ ms: 0, from: ['a', 'b'], missing: [], cutOff: false });
  });

  it('answers for its own node alone while the node is cut off', async () => {
    await ask();
    cluster.cut('a');
    expect(await ask()).to.deep.include({ from: ['a'], missing: [], cutOff: true });
  });

  it('keeps bounds on what it remembers of a storm, and counts the rest', async () => {
    a.watch();
    await clock.tickAsync(1);
    let reported = 0;
    let more = 0;
    a.onSample = (_, { activity }) => {
      reported += activity.sends.sends.length;
      more += activity.sends.more['not-connected'] ?? 0;
    };
    const { sse } = cluster.node('a');
    for (let n = 0; n < 3_000; n += 1) sse.sendMessage(`nobody-${n}`, 'note', n);
    await clock.tickAsync(1_500);
    expect([reported, more]).to.deep.equal([200, 2_800]);
    expect(a.recorder?.sends.length).to.equal(200);
    for (let second = 0; second < 20; second += 1) {
      for (let n = 0; n < 300; n += 1) sse.sendMessage(`nobody-${n}`, 'note', n);
      a.watch();
      await clock.tickAsync(1_000);
    }
    expect(a.recorder?.sends.length).to.be.below(1_000);
  });
});
