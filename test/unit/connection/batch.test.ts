import { expect } from 'chai';
import fc from 'fast-check';
import { Batch } from '../../../src/connection/scheduler.js';
import { frame } from './connection-bench.js';

describe('Batch', () => {
  const [a, b, c] = [frame('a'), frame('b'), frame('c')];

  it('joins its frames in the order in which they were appended', () => {
    const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 9 }), { maxLength: 40 });
    fc.assert(
      fc.property(frames, parts => {
        const buffers = parts.map(part => Buffer.from(part));
        const batch = buffers.reduce((list, bytes) => list.append({ bytes }), Batch.empty());
        expect(batch.join().equals(Buffer.concat(buffers))).to.be.true;
        expect(batch.bytes).to.equal(Buffer.concat(buffers).length);
      }),
    );
  });

  it('is one object for all that got the same frames', () => {
    const empty = Batch.empty();
    const batches = Array.from({ length: 1000 }, () => empty.append(a).append(b).append(c));
    expect(new Set(batches).size).to.equal(1);
    expect(new Set(batches.map(batch => batch.join())).size).to.equal(1);
  });

  it('stays apart for those that got other frames', () => {
    const empty = Batch.empty();
    const [ab, ac] = [empty.append(a).append(b), empty.append(a).append(c)];
    expect([ab.join().toString(), ac.join().toString()]).to.deep.equal([
      'data: a\n\ndata: b\n\n',
      'data: a\n\ndata: c\n\n',
    ]);
  });

  it('does not change when something is appended to it', () => {
    const batch = Batch.empty().append(a);
    batch.append(b);
    expect(batch.join().toString()).to.equal('data: a\n\n');
  });

  it('is nothing when it is empty', () => {
    expect([Batch.empty().bytes, Batch.empty().join().length]).to.deep.equal([0, 0]);
  });

  it('releases its successor when it forgets it', () => {
    const empty = Batch.empty();
    const before = empty.append(a);
    empty.forget();
    expect(empty.append(a)).to.not.equal(before);
  });
});
