import { expect } from 'chai';
import fc from 'fast-check';
import sinon from 'sinon';
import { MemoryLog, type Remainder } from '../../../src/cluster/memory/log.js';
import type { Retention } from '../../../src/contracts/cluster.js';
import type { Cursor, Position } from '../../../src/contracts/events.js';
import { formatCursor, isAfter } from '../../../src/protocol/cursor.js';
import { EVERYONE } from '../../../src/protocol/names.js';
import { gapIn } from '../../../src/testing/contracts/coordinator/steps.js';
import { collectGarbage } from '../../support/collect-garbage.js';

const KEEP: Retention = { maxEntries: 100, ttl: 60_000 };
const START = 1_700_000_000_000;

describe('MemoryLog', () => {
  let clock: sinon.SinonFakeTimers;

  beforeEach(() => {
    clock = sinon.useFakeTimers({ now: START, toFake: ['Date', 'performance'] });
  });

  afterEach(() => {
    clock.restore();
  });

  it('begins at the present with nothing in it', () => {
    const log = new MemoryLog();
    expect(log.head).to.deep.equal({ epoch: log.epoch, ms: START, sequence: 0 });
  });

  it('has an epoch of its own that a cursor can carry', () => {
    const epochs = [new MemoryLog().epoch, new MemoryLog().epoch];
    expect(epochs[0]).to.match(/^[0-9a-z]{1,16}$/);
    expect(epochs[0]).to.not.equal(epochs[1]);
  });

  it('numbers entries across topics and stamps them with the clock', () => {
    const log = new MemoryLog();
    append(log, 'news', 'x');
    clock.tick(5);
    expect(append(log, 'sport', 'x')).to.deep.equal({
      epoch: log.epoch,
      ms: START + 5,
      sequence: 2,
    });
  });

  it('a clock that goes back does not turn the order around', () => {
    const log = new MemoryLog();
    clock.tick(1000);
    const before = append(log, 'news', '0');
    clock.setSystemTime(START);
    const after = append(log, 'news', '1');
    expect(isAfter(after, before)).to.equal(true);
    expect(texts(log, ['news'], before)).to.deep.equal(['1']);
  });

  it('puts the id in front of what was published', () => {
    const log = new MemoryLog();
    const { cursor, frame } = log.append('news', Buffer.from('data: x\n\n'), KEEP);
    expect(frame.bytes.toString()).to.equal(`id: ${formatCursor(cursor)}\ndata: x\n\n`);
  });

  it('a shorter retention trims what a longer one kept', () => {
    const log = new MemoryLog();
    const start = log.head;
    for (let n = 0; n < 5; n += 1) append(log, 'news', `${n}`);
    append(log, 'news', '5', { maxEntries: 2, ttl: 60_000 });
    expect(texts(log, ['news'], start)).to.deep.equal(['4', '5']);
  });

  it('keeps so many bytes and no more; the oldest entries of all topics go, and a gap is reported', () => {
    const log = new MemoryLog(100_000);
    const start = log.head;
    const whole: Retention = { maxEntries: 1_000_000, ttl: 60_000, whole: true };
    for (let n = 0; n < 1_000; n += 1) {
      append(log, 'source', `${n}`, whole);
      append(log, `topic ${n % 10}`, 'x'.repeat(1_000), { maxEntries: 1_000_000, ttl: 60_000 });
      expect(log.bytes).to.be.at.most(100_000);
    }
    expect(log.bytes).to.be.at.least(97_000);
    const page = log.replay({ topics: ['source'], after: start, limit: 1_000 });
    expect(gapIn(page)).to.deep.equal({ reason: 'GAP', topics: ['source'] });
    const left = page.frames.length;
    expect(page.frames.map(({ bytes }) => textOf(bytes))).to.deep.equal(
      Array.from({ length: left }, (_, index) => `${1_000 - left + index}`),
    );
  });

  it('counts no entry twice when its topic trims it first', () => {
    const log = new MemoryLog(50_000);
    append(log, 'old', 'x', { maxEntries: 1, ttl: 60_000 });
    for (let n = 0; n < 10_000; n += 1) append(log, 'busy', `${n}`, { maxEntries: 3, ttl: 60_000 });
    const start = { epoch: log.epoch, ms: 0, sequence: 0 };
    expect(texts(log, ['old'], start)).to.deep.equal(['x']);
    append(log, 'large', 'x'.repeat(49_800), KEEP);
    expect(texts(log, ['old', 'busy'], start)).to.deep.equal([]);
    expect(log.bytes).to.be.at.most(50_000);
  });

  it('keeps no entry longer or shorter because the wall clock steps', () => {
    const log = new MemoryLog();
    const start = log.head;
    append(log, 'news', '0');
    clock.setSystemTime(START + 7_200_000);
    expect(texts(log, ['news'], start)).to.deep.equal(['0']);
    append(log, 'news', '1');
    clock.setSystemTime(START);
    clock.tick(60_001);
    expect(texts(log, ['news'], start)).to.deep.equal([]);
  });

  it('a page has at most 256 KiB, and at least one entry', () => {
    const log = new MemoryLog();
    const start = log.head;
    for (let n = 0; n < 5; n += 1) append(log, 'news', `${n}${'x'.repeat(100_000)}`);
    append(log, 'news', `5${'x'.repeat(1_000_000)}`);
    const sizes: number[] = [];
    for (let after = start; isAfter(log.head, after);) {
      const { frames, completeTo } = log.replay({ topics: ['news'], after, limit: 200 });
      sizes.push(frames.length);
      after = { epoch: log.epoch, ...completeTo };
    }
    expect(sizes).to.deep.equal([2, 2, 1, 1]);
  });

  it('an entry of a few bytes takes less than 200 bytes, and none of the memory that Node shares', async () => {
    clock.restore();
    const log = new MemoryLog();
    const retention = { maxEntries: 1_000_000, ttl: 60_000, whole: true } as const;
    const before = await collectedBytes();
    for (let n = 0; n < 20_000; n += 1) append(log, 'source', 'abcde', retention);
    const perEntry = ((await collectedBytes()) - before) / 20_000;
    expect(perEntry).to.be.below(200);
    expect(log.replay({ topics: ['source'], after: { ...log.head, ms: 0 }, limit: 1 }).frames).to.have.length(1);
  });

  it('an entry is kept for as long as its ttl and no longer', () => {
    const log = new MemoryLog();
    const start = log.head;
    append(log, 'news', '0', { maxEntries: 10, ttl: 100 });
    clock.tick(100);
    expect(texts(log, ['news'], start)).to.deep.equal(['0']);
    clock.tick(1);
    const page = log.replay({ topics: ['news'], after: start, limit: 10 });
    expect(page.frames).to.deep.equal([]);
    expect(gapIn(page)).to.deep.equal({ reason: 'GAP', topics: ['news'] });
  });

  it('an empty topic still reports its gap, even after new entries', () => {
    const log = new MemoryLog();
    const start = log.head;
    append(log, 'news', '0', { maxEntries: 10, ttl: 10 });
    clock.tick(1_000_000);
    for (let n = 0; n < 2000; n += 1) append(log, 'sport', 'x');
    append(log, 'news', '1', { maxEntries: 10, ttl: 10 });
    const page = log.replay({ topics: ['news'], after: start, limit: 10 });
    expect(gapIn(page)).to.deep.equal({ reason: 'GAP', topics: ['news'] });
  });

  it('a topic without entries has no gap because nothing is left of another', () => {
    const log = new MemoryLog();
    const start = log.head;
    append(log, 'weather', '0', { maxEntries: 10, ttl: 10 });
    clock.tick(1_000_000);
    for (let n = 0; n < 2000; n += 1) append(log, 'sport', 'x');
    const page = log.replay({ topics: ['news'], after: start, limit: 10 });
    expect(page.gap).to.equal(undefined);
  });

  it('of a topic that the log has forgotten, a gap is reported', () => {
    const log = new MemoryLog();
    const start = log.head;
    for (let n = 0; n < 10_500; n += 1) append(log, `topic ${n}`, 'x', { maxEntries: 1, ttl: 10 });
    clock.tick(11);
    const before = log.head;
    for (let n = 0; n < 1000; n += 1) append(log, 'sport', 'x');
    const gap = { reason: 'GAP', topics: ['topic 0'] };
    expect(gapIn(log.replay({ topics: ['topic 0'], after: start, limit: 1 }))).to.deep.equal(gap);
    append(log, 'topic 0', 'y');
    expect(gapIn(log.replay({ topics: ['topic 0'], after: start, limit: 1 }))).to.deep.equal(gap);
    const later = log.replay({ topics: ['topic 0'], after: before, limit: 1 });
    expect(later.gap).to.equal(undefined);
    expect(later.frames).to.have.length(1);
    expect(gapIn(log.replay({ topics: ['sport'], after: start, limit: 1 }))).to.deep.include({
      topics: ['sport'],
    });
    expect(gapIn(log.since(start))).to.deep.equal({ reason: 'GAP', topics: undefined });
    expect(gapIn(log.since(before))?.topics).to.be.an('array');
  });

  it('since answers everything after a position, whatever its topic, and what is missing', () => {
    const log = new MemoryLog();
    append(log, 'news', '0');
    const start = log.head;
    for (const [n, topic] of ['news', EVERYONE, 'sport', 'sport', 'news'].entries()) {
      append(log, topic, `${n}`, topic === 'sport' ? { maxEntries: 1, ttl: 60_000 } : KEEP);
    }
    const { entries, gap } = log.since(start);
    expect(entries.map(({ topic, frame }) => [topic, textOf(frame.bytes)])).to.deep.equal([
      ['news', '0'],
      [EVERYONE, '1'],
      ['sport', '3'],
      ['news', '4'],
    ]);
    expect(gap?.topics).to.deep.equal(new Map([['sport', entryBefore(entries[2])]]));
  });

  it('answers like a plain array of all entries', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.uniqueArray(topicName, { maxLength: 4 }),
        fc.nat(),
        fc.integer({ min: 1, max: 5 }),
        (steps, topics, start, limit) => {
          clock.setSystemTime(START);
          const log = new MemoryLog();
          const model = new Model(log.head);
          for (const { kind, topic, retention, ms } of steps) {
            if (kind === 'wait') clock.tick(ms);
            else model.append(topic, log.append(topic, Buffer.from('data: x\n\n'), retention), retention);
          }
          let after = model.positions[start % model.positions.length] ?? log.head;
          const wanted = [EVERYONE, ...topics.filter(topic => topic !== EVERYONE)];
          const seen: number[] = [];
          for (const expected = model.replay(wanted, after); ;) {
            const page = log.replay({ topics, after: { ...after, epoch: log.epoch }, limit });
            expect(page.frames.length).to.be.at.most(limit);
            if (seen.length === 0) {
              expect([...(page.gap?.topics?.keys() ?? [])].sort()).to.deep.equal(expected.gaps);
              expect(page.gap?.reason).to.equal(expected.gaps.length > 0 ? 'GAP' : undefined);
            }
            seen.push(...page.frames.map(({ position }) => position?.sequence ?? -1));
            if (isAfter(page.head, page.completeTo)) {
              after = { epoch: log.epoch, ...page.completeTo };
              continue;
            }
            expect(seen).to.deep.equal(expected.sequences);
            return;
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

interface Step {
  readonly kind: 'append' | 'wait';
  readonly topic: string;
  readonly retention: Retention;
  readonly ms: number;
}

const topicName = fc.constantFrom(EVERYONE, 'news', 'sport', 'never');
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('append', 'append', 'append', 'wait'),
  topic: fc.constantFrom(EVERYONE, 'news', 'sport'),
  retention: fc.record({
    maxEntries: fc.integer({ min: 1, max: 6 }),
    ttl: fc.integer({ min: 1, max: 50 }),
  }),
  ms: fc.integer({ min: 1, max: 40 }),
});

/** What was ever published, and the rule by which it is forgotten. */
class Model {
  readonly positions: Cursor[];
  readonly #entries: { topic: string; position: Position; dropped: boolean }[] = [];
  readonly #retentions = new Map<string, Retention>();

  constructor(start: Cursor) {
    this.positions = [start];
  }

  append(topic: string, { cursor }: { readonly cursor: Cursor }, retention: Retention): void {
    this.#entries.push({ topic, position: cursor, dropped: false });
    this.positions.push(cursor);
    this.#retentions.set(topic, retention);
    this.#forget(topic);
  }

  replay(topics: readonly string[], after: Position): { sequences: number[]; gaps: string[] } {
    for (const topic of topics) this.#forget(topic);
    const missed = this.#entries.filter(({ topic, position }) => topics.includes(topic) && isAfter(position, after));
    const lost = missed.filter(({ dropped }) => dropped).map(({ topic }) => topic);
    return {
      sequences: missed.filter(({ dropped }) => !dropped).map(({ position }) => position.sequence),
      gaps: [...new Set(lost)].sort(),
    };
  }

  #forget(topic: string): void {
    const { maxEntries, ttl } = this.#retentions.get(topic) ?? KEEP;
    const kept = this.#entries.filter(entry => entry.topic === topic && !entry.dropped);
    kept.forEach((entry, index) => {
      const tooMany = index < kept.length - maxEntries;
      const tooOld = entry.position.ms < Date.now() - ttl;
      entry.dropped ||= tooMany || tooOld;
    });
  }
}

function append(log: MemoryLog, topic: string, text: string, retention = KEEP): Cursor {
  return log.append(topic, Buffer.from(`data: ${text}\n\n`), retention).cursor;
}

function texts(log: MemoryLog, topics: readonly string[], after: Cursor): string[] {
  return log.replay({ topics, after, limit: 100 }).frames.map(({ bytes }) => textOf(bytes));
}

function textOf(bytes: Buffer): string {
  return /data: (.*)/.exec(bytes.toString())?.[1] ?? '';
}

function entryBefore(entry: Remainder['entries'][number] | undefined): Position | undefined {
  const position = entry?.frame.position;
  return position && { ms: position.ms, sequence: position.sequence - 1 };
}

/** Memory in use after a collection, that of buffers included. */
async function collectedBytes(): Promise<number> {
  await collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
