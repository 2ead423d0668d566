import { expect } from 'chai';
import { useFakeTimers, type SinonFakeTimers } from 'sinon';
import { LogTail } from '../../../../src/cluster/redis/tail.js';

const TTL = 1_000;
const at = (sequence: number, epoch = 'e') => ({ epoch, ms: 100, sequence });
const entry = (topic: string, sequence: number, size = 10) => {
  const position = at(sequence);
  return { topic, position, frame: { bytes: Buffer.alloc(size), position } };
};

describe('LogTail', () => {
  let clock: SinonFakeTimers;
  let tail: LogTail;

  beforeEach(() => {
    clock = useFakeTimers({ toFake: ['performance'] });
    tail = live(100_000);
  });
  afterEach(() => clock.restore());

  /** A tail of a feed that is live at 10, and follows a and b from there on. */
  function live(maxBytes: number): LogTail {
    const made = new LogTail(maxBytes, () => TTL);
    made.moveTo(at(10));
    made.belongTo('run');
    for (const topic of ['a', 'b']) {
      made.follow(topic);
      made.acknowledge(topic);
      made.begin(topic, at(10));
    }
    made.live = true;
    return made;
  }
  function deliver(topic: string, sequence: number, size?: number): void {
    tail.add(entry(topic, sequence, size));
    tail.moveTo(at(sequence));
  }
  const page = (topics: readonly string[], after: number, limit = 100, bytes = 100_000) => {
    const found = tail.page(topics, at(after), limit, bytes);
    return found && { head: found.head.sequence, to: found.completeTo.sequence, got: found.frames.map(sequenceOf) };
  };
  const sequenceOf = ({ position }: { readonly position?: { readonly sequence: number } }) => position?.sequence;

  it('serves what the feed has delivered, of several topics in one order', () => {
    for (const [topic, sequence] of [
      ['a', 11],
      ['b', 12],
      ['a', 13],
    ] as const)
      deliver(topic, sequence);
    expect(page(['a', 'b'], 10)).to.deep.equal({ head: 13, to: 13, got: [11, 12, 13] });
    expect(page(['a'], 11)).to.deep.equal({ head: 13, to: 13, got: [13] });
    expect(page(['b'], 13)).to.deep.equal({ head: 13, to: 13, got: [] });
  });

  it('keeps of an event its bytes, and not the buffer of which they are a part', () => {
    const position = at(11);
    const pool = Buffer.alloc(8192, 'x');
    tail.add({ topic: 'a', position, frame: { bytes: pool.subarray(100, 150), position } });
    tail.moveTo(position);
    const [kept] = tail.page(['a'], at(10), 100, 100_000)?.frames ?? [];
    expect(kept?.bytes.toString()).to.equal('x'.repeat(50));
    expect(kept?.bytes.buffer.byteLength).to.equal(50);
  });

  it('ends a page at its number of entries, or of bytes, after at least one', () => {
    for (const sequence of [11, 12, 13]) deliver('a', sequence, 50);
    expect(page(['a'], 10, 2)).to.deep.equal({ head: 13, to: 12, got: [11, 12] });
    expect(page(['a'], 10, 100, 1)).to.deep.equal({ head: 13, to: 11, got: [11] });
    expect(page(['a'], 10, 100, 60)).to.deep.equal({ head: 13, to: 12, got: [11, 12] });
  });

  it('gives readers that miss the same entries one page', () => {
    for (const sequence of [11, 12]) deliver('a', sequence);
    const framesOf = (topics: readonly string[], limit: number) => tail.page(topics, at(10), limit, 100_000)?.frames;
    const [all, full] = [framesOf(['a'], 100), framesOf(['a'], 1)];
    expect(framesOf(['a', 'b'], 100)).to.equal(all);
    deliver('b', 13);
    expect(framesOf(['a'], 1)).to.equal(full);
    expect(page(['a', 'b'], 10)).to.deep.equal({ head: 13, to: 13, got: [11, 12, 13] });
    deliver('a', 14);
    expect(framesOf(['a'], 1)).to.equal(full);
    expect(page(['a'], 10)).to.deep.equal({ head: 14, to: 14, got: [11, 12, 14] });
    expect(page(['a'], 11)).to.deep.equal({ head: 14, to: 14, got: [12, 14] });
  });

  it('gives no reader the page of another one that goes further', () => {
    const learn = (topic: string, to: number, ...sequences: number[]) => {
      const entries = sequences.map(sequence => entry(topic, sequence));
      tail.learn({ topic, from: at(2), to: at(to), entries, ageOf: () => 0 }, 'e', 'run');
    };
    learn('a', 10, 3, 8);
    learn('b', 5);
    for (const limit of [2, 100]) {
      expect(page(['a'], 2, limit)).to.deep.include({ got: [3, 8] });
      expect(page(['a', 'b'], 2, limit)).to.deep.equal({ head: 10, to: 5, got: [3] });
    }
    deliver('a', 11);
    expect(page(['a'], 2, 2)).to.deep.include({ to: 8, got: [3, 8] });
    expect(page(['a', 'b'], 2, 2)).to.deep.equal({ head: 11, to: 5, got: [3] });
  });

  it('serves nothing before the position from which it is complete, of other topics, or after its end', () => {
    deliver('a', 11);
    expect(page(['a'], 9)).to.equal(undefined);
    expect(page(['a', 'c'], 10)).to.equal(undefined);
    expect(page(['a'], 12)).to.equal(undefined);
    expect(tail.page(['a'], at(10, 'other'), 1, 1)).to.equal(undefined);
  });

  it('serves nothing while the feed is not live', () => {
    tail.live = false;
    expect(page(['a'], 10)).to.equal(undefined);
  });

  it('serves no entry that is too old', () => {
    deliver('a', 11);
    clock.tick(TTL - 1);
    deliver('a', 12);
    expect(page(['a'], 10)).to.include({ to: 12 });
    clock.tick(1);
    expect(page(['a'], 10)).to.equal(undefined);
    expect(page(['a'], 11)).to.deep.include({ got: [12] });
  });

  it('serves no entry that is too old behind one that is not', () => {
    deliver('a', 11);
    const slice = { topic: 'a', from: at(10), to: at(12), entries: [entry('a', 12)], ageOf: () => TTL / 2 };
    tail.learn(slice, 'e', 'run');
    tail.moveTo(at(12));
    expect(page(['a'], 10)).to.deep.include({ got: [11, 12] });
    clock.tick(TTL / 2);
    expect(page(['a'], 10)).to.equal(undefined);
    expect(page(['a'], 12)).to.deep.include({ got: [] });
  });

  it('keeps no more bytes than its bound, the newest ones', () => {
    tail = live(10_000);
    for (let sequence = 11; sequence < 111; sequence += 1) deliver('a', sequence, 800);
    expect(tail.bytes).to.be.within(5_000, 10_000);
    expect(page(['a'], 10)).to.equal(undefined);
    expect(page(['a'], 105)).to.deep.include({ got: [106, 107, 108, 109, 110] });
    tail = live(0);
    deliver('a', 11);
    expect(tail.bytes).to.equal(0);
    expect(page(['a'], 11)).to.deep.include({ got: [] });
  });

  it('serves what was read for another client, and joins it with what the feed delivers', () => {
    for (const sequence of [11, 12]) deliver('a', sequence);
    const learn = (from: number, to: number, ...sequences: number[]) =>
      tail.learn(
        { topic: 'a', from: at(from), to: at(to), entries: sequences.map(n => entry('a', n)), ageOf: () => 0 },
        'e',
        'run',
      );
    learn(2, 5, 3, 5);
    expect(page(['a'], 2)).to.deep.equal({ head: 12, to: 5, got: [3, 5] });
    expect(page(['a'], 5)).to.equal(undefined);
    learn(4, 11, 5, 8, 11);
    expect(page(['a'], 2)).to.deep.equal({ head: 12, to: 12, got: [3, 5, 8, 11, 12] });
    deliver('a', 13);
    expect(page(['a'], 3)).to.deep.include({ to: 13, got: [5, 8, 11, 12, 13] });
    expect(tail.bytes).to.equal(6 * 210);
  });

  it('serves no reader that has more than the feed, though another one has read as far', () => {
    const slice = { topic: 'a', from: at(10), to: at(20), entries: [entry('a', 15)], ageOf: () => 0 };
    tail.learn(slice, 'e', 'run');
    expect(page(['a'], 10)).to.deep.equal({ head: 10, to: 10, got: [] });
    expect(page(['a'], 17)).to.equal(undefined);
    deliver('a', 15);
    expect(page(['a'], 10)).to.deep.equal({ head: 15, to: 15, got: [15] });
  });

  it('knows nothing from before a gap, nor of another log, run of Redis or subscription', () => {
    deliver('a', 11);
    deliver('b', 12);
    tail.lose({ reason: 'GAP', topics: new Map([['a', at(11)]]), resumedFrom: at(11), until: at(11) });
    expect(page(['a'], 10)).to.equal(undefined);
    expect(page(['b'], 10)).to.deep.include({ got: [12] });
    tail.belongTo('');
    expect(page(['b'], 10)).to.deep.include({ got: [12] });
    tail.belongTo('another run');
    expect(page(['b'], 10)).to.equal(undefined);
    tail.begin('b', at(12));
    deliver('b', 13);
    expect(page(['b'], 12)).to.deep.include({ got: [13] });
    const [former] = tail.generations(['b']) ?? [];
    tail.forget('b');
    expect(tail.generations(['b'])).to.equal(undefined);
    tail.follow('b');
    tail.acknowledge('b');
    tail.begin('b', at(13), former);
    expect(page(['b'], 13)).to.equal(undefined);
    tail.begin('b', at(13));
    expect(page(['b'], 13)).to.deep.include({ got: [] });
    tail.lose({ reason: 'EPOCH', topics: undefined, resumedFrom: at(13), until: at(13) });
    expect(page(['b'], 13)).to.equal(undefined);
    expect(tail.bytes).to.equal(0);
  });
});
