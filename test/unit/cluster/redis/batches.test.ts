import { expect } from 'chai';
import { Batches } from '../../../../src/cluster/redis/batches.js';
import { SseError } from '../../../../src/errors.js';
import { turns } from '../../../support/turns.js';

/** A batch that left. */
interface Left {
  readonly target: string;
  readonly items: readonly number[];
  readonly answer: (answers?: readonly number[]) => void;
  readonly fail: (error: Error) => void;
}

describe('Batches', () => {
  let left: Left[];
  const run = (target: string, items: readonly number[]): Promise<readonly number[]> =>
    new Promise((resolve, fail) => {
      left.push({ target, items, answer: (answers = items) => resolve(answers), fail });
    });
  const contents = () => left.map(({ target, items }) => [target, ...items]);

  beforeEach(() => {
    left = [];
  });

  it('sends a call that is alone before the end of the turn, and those that come with it together', async () => {
    const batches = new Batches(3, run);
    const alone = batches.call('a', 1);
    await new Promise<void>(resolve => process.nextTick(resolve));
    expect(contents()).to.deep.equal([['a', 1]]);
    for (const item of [2, 3]) void batches.call('a', item);
    void batches.call('b', 4);
    await turns(1);
    expect(contents().slice(1)).to.deep.equal([
      ['a', 2, 3],
      ['b', 4],
    ]);
    left[0]?.answer([10]);
    expect(await alone).to.equal(10);
  });

  it('sends a batch that is full at once', () => {
    const batches = new Batches(2, run);
    for (const item of [1, 2, 3]) void batches.call('a', item);
    expect(contents()).to.deep.equal([['a', 1, 2]]);
    const sized = new Batches(10, run, { sizeOf: (item: number) => item });
    void sized.call('b', 11);
    expect(contents().slice(1)).to.deep.equal([['b', 11]]);
  });

  it('fails the calls of a batch that fails, and no other one', async () => {
    const batches = new Batches(2, run);
    const calls = [1, 2, 3].map(item => batches.call('a', item));
    await turns(1);
    left[0]?.fail(new Error('away'));
    left[1]?.answer();
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map(({ status }) => status)).to.deep.equal(['rejected', 'rejected', 'fulfilled']);
  });

  it('makes the calls of a batch one by one that meets a key it cannot read', async () => {
    const batches = new Batches(2, run);
    const calls = [1, 2].map(item => batches.call('a', item));
    void batches.call('a', 3);
    const unreadable = new SseError('UNAVAILABLE', 'x', { noEffect: 'KEY_UNREADABLE' });
    left[0]?.fail(unreadable);
    await turns(2);
    expect(contents().slice(1)).to.have.deep.members([
      ['a', 1],
      ['a', 2],
      ['a', 3],
    ]);
    for (const batch of left.slice(1)) if (batch.items[0] === 1) batch.fail(unreadable);
    for (const batch of left.slice(1)) batch.answer();
    const [first, second] = await Promise.allSettled(calls);
    expect(first).to.deep.equal({ status: 'rejected', reason: unreadable });
    expect(second).to.deep.equal({ status: 'fulfilled', value: 2 });
  });

  describe('of which two are under way at once', () => {
    let batches: Batches<string, number, number>;
    beforeEach(async () => {
      batches = new Batches(3, run, { atOnce: 2 });
      for (const item of [1, 2]) {
        void batches.call('a', item).catch(() => undefined);
        await turns(1);
      }
    });

    for (const [outcome, end] of [
      ['answered', (batch: Left | undefined) => batch?.answer()],
      ['failed', (batch: Left | undefined) => batch?.fail(new Error('away'))],
    ] as const) {
      it(`gather further calls until one of the two is ${outcome}, for their target alone`, async () => {
        void batches.call('a', 3);
        await turns(2);
        void batches.call('a', 4);
        void batches.call('b', 5);
        await turns(2);
        expect(contents()).to.deep.equal([
          ['a', 1],
          ['a', 2],
          ['b', 5],
        ]);
        end(left[1]);
        await turns(2);
        expect(contents().slice(3)).to.deep.equal([['a', 3, 4]]);
      });
    }

    it('wait no longer once they are full, and for two of those under way then', async () => {
      for (const item of [3, 4, 5, 6]) void batches.call('a', item);
      await turns(2);
      expect(contents()).to.deep.equal([
        ['a', 1],
        ['a', 2],
        ['a', 3, 4, 5],
      ]);
      left[2]?.answer();
      await turns(2);
      expect(left).to.have.length(3);
      left[0]?.answer();
      await turns(2);
      expect(contents().slice(3)).to.deep.equal([['a', 6]]);
    });
  });
});
