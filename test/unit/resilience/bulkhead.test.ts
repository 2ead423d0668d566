import { expect } from 'chai';
import fc from 'fast-check';
import { Bulkhead } from '../../../src/resilience/bulkhead.js';

describe('Bulkhead', () => {
  let bulkhead: Bulkhead;
  let begun: string[];

  beforeEach(() => {
    bulkhead = new Bulkhead(2, 3);
    begun = [];
  });

  const wait = (name: string): (() => void) | undefined => bulkhead.wait(() => begun.push(name));
  const fill = (): void => {
    expect([bulkhead.enter(), bulkhead.enter()]).to.deep.equal([true, true]);
  };

  it('lets as many calls run as it may, and one more for each that leaves', () => {
    fill();
    expect(bulkhead.enter()).to.equal(false);
    bulkhead.leave();
    expect(bulkhead.enter()).to.equal(true);
    expect(bulkhead.enter()).to.equal(false);
  });

  it('lets as many calls wait as it may, and begins them in order, one for each that leaves', () => {
    fill();
    for (const name of ['a', 'b', 'c']) expect(wait(name)).to.be.a('function');
    expect(wait('d')).to.equal(undefined);
    expect(begun).to.deep.equal([]);
    bulkhead.leave();
    expect(begun).to.deep.equal(['a']);
    bulkhead.leave();
    bulkhead.leave();
    expect(begun).to.deep.equal(['a', 'b', 'c']);
  });

  it('starts the first call of the queue when one leaves, not a newcomer', () => {
    fill();
    wait('a');
    bulkhead.leave();
    expect(bulkhead.enter()).to.equal(false);
    expect(bulkhead.running).to.equal(2);
  });

  for (const [gone, left] of [
    ['a', ['b', 'c']],
    ['b', ['a', 'c']],
    ['c', ['a', 'b']],
  ] as const) {
    it(`forgets ${gone} of a, b and c when it leaves the queue, and has room for another`, () => {
      fill();
      const leaving = new Map(['a', 'b', 'c'].map(name => [name, wait(name)]));
      leaving.get(gone)?.();
      expect(wait('d')).to.be.a('function');
      for (let count = 0; count < 3; count += 1) bulkhead.leave();
      expect(begun).to.deep.equal([...left, 'd']);
    });
  }

  it('is unchanged by a call that leaves the queue twice, or after it has begun', () => {
    fill();
    const [first, second] = [wait('a'), wait('b')];
    second?.();
    second?.();
    expect(bulkhead.waiting).to.equal(1);
    bulkhead.leave();
    first?.();
    expect([bulkhead.running, bulkhead.waiting]).to.deep.equal([2, 0]);
    wait('c');
    bulkhead.leave();
    expect(begun).to.deep.equal(['a', 'c']);
  });

  it('agrees with a plain list in random histories', () => {
    const steps = fc.array(fc.record({ step: fc.constantFrom('come', 'leave', 'go'), which: fc.nat(9) }), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(fc.nat(3), fc.nat(5), steps, (concurrency, queue, list) => {
        const subject = new Bulkhead(concurrency, queue);
        const line: { id: number; go: () => void }[] = [];
        const started: number[] = [];
        const expected: number[] = [];
        let running = 0;
        for (const [id, { step, which }] of list.entries()) {
          if (step === 'come') {
            const entered = subject.enter();
            expect(entered).to.equal(running < concurrency);
            if (entered) running += 1;
            else {
              const go = subject.wait(() => started.push(id));
              expect(go !== undefined).to.equal(line.length < queue);
              if (go !== undefined) line.push({ id, go });
            }
          } else if (step === 'leave' && running > 0) {
            const next = line.shift();
            if (next === undefined) running -= 1;
            else expected.push(next.id);
            subject.leave();
          } else if (step === 'go') {
            line.splice(which, 1)[0]?.go();
          }
          expect(started).to.deep.equal(expected);
          expect([subject.running, subject.waiting]).to.deep.equal([running, line.length]);
        }
      }),
    );
  });
});
