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

  const lineUp = (name: string): (() => void) | undefined =>
    bulkhead.lineUp({ begin: () => begun.push(name) });
  const fill = (): void => {
    expect([bulkhead.enter(), bulkhead.enter()]).to.deep.equal([true, true]);
  };

  it('lets in as many as may run, and one more for each that leaves', () => {
    fill();
    expect(bulkhead.enter()).to.equal(false);
    bulkhead.leave();
    expect(bulkhead.enter()).to.equal(true);
    expect(bulkhead.enter()).to.equal(false);
  });

  it('lets as many wait as may, and begins them in their order, one for each that leaves', () => {
    fill();
    for (const name of ['a', 'b', 'c']) expect(lineUp(name)).to.be.a('function');
    expect(lineUp('d')).to.equal(undefined);
    expect(begun).to.deep.equal([]);
    bulkhead.leave();
    expect(begun).to.deep.equal(['a']);
    bulkhead.leave();
    bulkhead.leave();
    expect(begun).to.deep.equal(['a', 'b', 'c']);
  });

  it('gives the place of one that leaves to the first in line, not to a newcomer', () => {
    fill();
    lineUp('a');
    bulkhead.leave();
    expect(bulkhead.enter()).to.equal(false);
    expect(bulkhead.running).to.equal(2);
  });

  for (const [gone, left] of [
    ['a', ['b', 'c']],
    ['b', ['a', 'c']],
    ['c', ['a', 'b']],
  ] as const) {
    it(`forgets ${gone} of a, b and c when it goes, and has room for another`, () => {
      fill();
      const places = new Map(['a', 'b', 'c'].map(name => [name, lineUp(name)]));
      places.get(gone)?.();
      expect(lineUp('d')).to.be.a('function');
      for (let count = 0; count < 3; count += 1) bulkhead.leave();
      expect(begun).to.deep.equal([...left, 'd']);
    });
  }

  it('takes no harm from one that goes twice, or after it has begun', () => {
    fill();
    const [first, second] = [lineUp('a'), lineUp('b')];
    second?.();
    second?.();
    expect(bulkhead.waiting).to.equal(1);
    bulkhead.leave();
    first?.();
    expect([bulkhead.running, bulkhead.waiting]).to.deep.equal([2, 0]);
    lineUp('c');
    bulkhead.leave();
    expect(begun).to.deep.equal(['a', 'c']);
  });

  it('agrees with a plain list, whatever comes', () => {
    const steps = fc.array(
      fc.record({ step: fc.constantFrom('come', 'leave', 'go'), which: fc.nat(9) }),
      { maxLength: 200 },
    );
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
              const go = subject.lineUp({ begin: () => started.push(id) });
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
