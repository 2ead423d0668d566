import { expect } from 'chai';
import { SseError } from '../../../src/errors.js';
import { Lifecycle } from '../../../src/node/lifecycle.js';
import { codeOf } from '../../support/code-of.js';

describe('Lifecycle', () => {
  let joins: { resolve: () => void; reject: (error: Error) => void }[];
  let lifecycle: Lifecycle;

  beforeEach(() => {
    joins = [];
    lifecycle = new Lifecycle(
      () => new Promise((resolve, reject) => joins.push({ resolve, reject })),
    );
  });

  it('joins once, however many ask', async () => {
    const starts = [lifecycle.start(), lifecycle.start()];
    expect(lifecycle.phase).to.equal('new');
    joins[0]?.resolve();
    await Promise.all(starts);
    await lifecycle.start();
    expect(joins).to.have.length(1);
    expect(lifecycle.phase).to.equal('started');
    expect(lifecycle.joined).to.equal(true);
  });

  it('a failure is told to everybody who asked, and the next call tries again', async () => {
    const starts = [lifecycle.start(), lifecycle.start()];
    joins[0]?.reject(new SseError('UNAVAILABLE', 'not there'));
    for (const start of starts) expect(await codeOf(start)).to.equal('UNAVAILABLE');
    expect(lifecycle.phase).to.equal('new');
    expect(lifecycle.joined).to.equal(false);
    const again = lifecycle.start();
    joins[1]?.resolve();
    await again;
    expect(lifecycle.phase).to.equal('started');
  });

  it('a close while it joins is told to whoever asked to start', async () => {
    const start = lifecycle.start();
    lifecycle.close();
    joins[0]?.resolve();
    expect(await codeOf(start)).to.equal('CLOSED');
    expect(lifecycle.phase).to.equal('closed');
    expect(lifecycle.joined).to.equal(true);
  });

  it('is settled when nobody joins any more, whatever came of it', async () => {
    await lifecycle.settled();
    const start = lifecycle.start();
    let settled = false;
    const settling = lifecycle.settled().then(() => (settled = true));
    await Promise.resolve();
    expect(settled).to.equal(false);
    joins[0]?.reject(new SseError('UNAVAILABLE', 'not there'));
    await settling;
    expect(settled).to.equal(true);
    expect(await codeOf(start)).to.equal('UNAVAILABLE');
  });

  it('never goes back', async () => {
    const start = lifecycle.start();
    joins[0]?.resolve();
    await start;
    lifecycle.drain();
    expect(lifecycle.phase).to.equal('draining');
    await lifecycle.start();
    expect(lifecycle.phase).to.equal('draining');
    expect(() => lifecycle.assertOpen()).to.not.throw();
    expect(() => lifecycle.assertAccepting())
      .to.throw(SseError)
      .with.property('code', 'DRAINING');
    lifecycle.close();
    lifecycle.drain();
    expect(lifecycle.phase).to.equal('closed');
    expect(await codeOf(lifecycle.start())).to.equal('CLOSED');
    expect(() => lifecycle.assertAccepting())
      .to.throw(SseError)
      .with.property('code', 'CLOSED');
  });
});
