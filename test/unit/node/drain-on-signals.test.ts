import { expect } from 'chai';
import sinon from 'sinon';
import { drainOnSignals } from '../../../src/node/drain.js';
import { turns } from '../../support/turns.js';

describe('drainOnSignals', () => {
  let exit: sinon.SinonStub;
  let clock: sinon.SinonFakeTimers;
  let undo: () => void;
  let drains: { resolve: () => void; reject: (error: Error) => void }[];
  const service = {
    drain: () => new Promise<void>((resolve, reject) => drains.push({ resolve, reject })),
  };

  beforeEach(() => {
    drains = [];
    exit = sinon.stub(process, 'exit');
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });

  afterEach(() => {
    undo();
    sinon.restore();
    clock.restore();
  });

  it('drains at the first signal, then ends the rest, then exits with 0', async () => {
    const steps: string[] = [];
    undo = drainOnSignals(service, { afterwards: async () => steps.push('afterwards') });
    process.emit('SIGTERM');
    await turns();
    expect(drains).to.have.length(1);
    expect(steps).to.deep.equal([]);
    expect(exit.called).to.equal(false);
    drains[0]?.resolve();
    await turns();
    expect(steps).to.deep.equal(['afterwards']);
    expect(exit.args).to.deep.equal([[0]]);
  });

  it('exits with 1 at once at a second signal, of whatever kind', async () => {
    undo = drainOnSignals(service, { signals: ['SIGTERM', 'SIGUSR2'] });
    process.emit('SIGTERM');
    process.emit('SIGUSR2');
    expect(exit.args).to.deep.equal([[1]]);
    expect(drains).to.have.length(1);
  });

  it('reports why it failed, and exits with 1', async () => {
    const reported: unknown[] = [];
    undo = drainOnSignals(service, { onError: error => reported.push(error) });
    process.emit('SIGTERM');
    const error = new Error('stuck');
    drains[0]?.reject(error);
    await turns();
    expect(reported).to.deep.equal([error]);
    expect(exit.firstCall.args).to.deep.equal([1]);
  });

  it('waits five seconds for the rest, no longer', async () => {
    undo = drainOnSignals(service, { afterwards: () => new Promise(() => undefined) });
    process.emit('SIGTERM');
    drains[0]?.resolve();
    await turns();
    await clock.tickAsync(4_999);
    expect(exit.called).to.equal(false);
    await clock.tickAsync(1);
    await turns();
    expect(exit.args).to.deep.equal([[0]]);
  });

  it('undone, handles no signal', () => {
    const before = process.listenerCount('SIGUSR2');
    undo = drainOnSignals(service, { signals: ['SIGUSR2'] });
    expect(process.listenerCount('SIGUSR2')).to.equal(before + 1);
    undo();
    expect(process.listenerCount('SIGUSR2')).to.equal(before);
  });
});
