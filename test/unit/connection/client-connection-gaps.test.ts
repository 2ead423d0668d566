import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import type { SendBufferPolicy } from '../../../src/connection/environment.js';
import type { Frame, Gap } from '../../../src/contracts/events.js';
import { formatCursor } from '../../../src/protocol/cursor.js';
import { Bench, entry, eventsIn, FIRST, frame, START } from './connection-bench.js';

/** The cursor so many entries after {@link START}. */
const at = (offset: number, epoch = START.epoch) => ({
  epoch,
  ms: START.ms,
  sequence: START.sequence + offset,
});

/** A gap of everything up to a position. */
function gap(reason: Gap['reason'], from: number, until: number, epoch?: string): Gap {
  return { reason, topics: undefined, resumedFrom: at(from, epoch), until: at(until) };
}

/** Names and ids of what a client got. */
const eventsOf = (text: string) =>
  eventsIn(text).map(({ event, data, id }) => (event === 'sse.reset' ? `reset ${id ?? ''}` : data));

describe('ClientConnection with a gap', () => {
  let bench: Bench;

  beforeEach(() => {
    bench = new Bench();
  });

  afterEach(() => {
    bench.stop();
  });

  it('sends sse.reset at the gap, with the id from which the stream goes on', async () => {
    const { connection, sink } = bench.open();
    connection.addTopic('news');
    connection.enqueue(entry(1));
    connection.reportGap(gap('GAP', 3, 5));
    connection.enqueue(entry(6));
    await turn();
    expect(eventsOf(sink.text)).to.deep.equal(['entry 1', `reset ${formatCursor(at(3))}`, 'entry 6']);
    const reset = eventsIn(sink.text)[1];
    expect(JSON.parse(reset?.data ?? '')).to.deep.equal({
      reason: 'GAP',
      topics: ['news'],
      resumedFrom: formatCursor(at(3)),
    });
    expect(bench.news).to.deep.equal(['c1 reset GAP', 'c1 reached news']);
  });

  it('writes no reset for a gap that its client is past', async () => {
    const { connection, sink } = bench.open();
    connection.enqueue(entry(5));
    connection.reportGap(gap('GAP', 3, 5));
    await turn();
    expect(eventsOf(sink.text)).to.deep.equal(['entry 5']);
    expect(bench.news).to.deep.equal([]);
  });

  it('leaves a client its id that is past the beginning of the gap, but not of its end', async () => {
    const { connection, sink } = bench.open();
    connection.enqueue(entry(4));
    connection.reportGap(gap('GAP', 3, 5));
    await turn();
    expect(eventsOf(sink.text)).to.deep.equal(['entry 4', 'reset ']);
  });

  it('names every topic of the client when a gap concerns all topics', async () => {
    const { connection, sink } = bench.open();
    connection.addTopic('sport');
    connection.reportGap(gap('EPOCH', 0, 0, 'e2'));
    await turn();
    expect(JSON.parse(eventsIn(sink.text)[0]?.data ?? '')).to.deep.include({
      reason: 'EPOCH',
      topics: ['sport'],
    });
  });

  it('goes over to the log that replaced the former, whatever its numbers', async () => {
    const { connection, sink } = bench.open();
    connection.enqueue(entry(9));
    connection.reportGap(gap('EPOCH', -5, -5, 'e2'));
    connection.reportGap(gap('EPOCH', -4, -4, 'e2'));
    // The former log's last ones may still be under way.
    connection.enqueue(entry(10));
    connection.enqueue(entry(-4, 'e2'));
    await turn();
    expect(eventsOf(sink.text)).to.deep.equal(['entry 9', `reset ${formatCursor(at(-5, 'e2'))}`, 'entry -4']);
  });

  it('reports the end of a log, and no earlier gap of the next one', async () => {
    const { connection, sink } = bench.open();
    connection.enqueue(entry(1));
    connection.reportGap(gap('GAP', -5, 9, 'e2'));
    connection.reportGap(gap('EPOCH', -5, -5, 'e2'));
    await turn();
    expect(eventsOf(sink.text)).to.deep.equal(['entry 1', `reset ${formatCursor(at(-5, 'e2'))}`]);
    expect(sink.text).to.include('EPOCH').and.not.include('GAP');
  });

  it('reports to each client exactly the gaps of its topics', async () => {
    const { connection, sink } = bench.open();
    connection.addTopic('news');
    connection.addTopic('sport');
    connection.enqueue(entry(4));
    const topics = new Map([
      ['news', at(6)],
      ['sport', at(3)],
      ['weather', at(8)],
      ['*', at(7)],
    ]);
    connection.reportGap({ ...gap('GAP', 5, 8), topics });
    await turn();
    const [, reset = ''] = /data: (.*"reason".*)/.exec(sink.text) ?? [];
    expect(JSON.parse(reset)).to.deep.include({ reason: 'GAP', topics: ['news', '*'] });
  });

  it('goes back in a log that lost its end, if it was past that', async () => {
    const { connection, sink } = bench.open();
    connection.enqueue(entry(2));
    connection.reportGap(gap('AHEAD', 4, 4));
    connection.enqueue(entry(9));
    connection.reportGap(gap('AHEAD', 4, 4));
    connection.enqueue(entry(5));
    await turn();
    expect(eventsOf(sink.text)).to.deep.equal(['entry 2', 'entry 9', `reset ${formatCursor(at(4))}`, 'entry 5']);
  });

  it('writes no reset once it is closed', () => {
    const { connection, sink } = bench.open();
    connection.cut('failed');
    connection.reportGap(gap('GAP', 0, 5));
    expect(sink.text).to.equal('');
  });

  describe('while it opens', () => {
    it('keeps the order of resets among held frames', () => {
      const { connection, sink } = bench.opening();
      connection.open(FIRST);
      connection.enqueue(entry(1));
      connection.reportGap(gap('GAP', 1, 3));
      connection.enqueue(entry(4));
      connection.goLive(START);
      expect(eventsOf(sink.text)).to.deep.equal(['first', 'entry 1', 'reset ', 'entry 4']);
    });

    it('writes no reset for a gap before its start', () => {
      const { connection, sink } = bench.opening();
      connection.open(FIRST);
      connection.reportGap(gap('GAP', 1, 3));
      connection.enqueue(entry(4));
      connection.reportGap(gap('EPOCH', 0, 0));
      connection.goLive(at(3));
      expect(eventsOf(sink.text)).to.deep.equal(['first', 'entry 4']);
    });

    for (const policy of ['drop-oldest', 'drop-newest'] satisfies SendBufferPolicy[]) {
      it(`closes under ${policy} when it cannot hold all entries, since the cursor of its client is not known yet`, () => {
        bench.stop();
        bench = new Bench({ policy, maxBytes: 40 });
        const { connection } = bench.opening();
        connection.open(FIRST);
        connection.enqueue(entry(1));
        connection.enqueue(entry(2));
        expect(connection.enqueue(frame('x'.repeat(20))).outcome).to.equal('rejected');
        expect(connection.state.kind).to.equal('opening');
        connection.enqueue(entry(3));
        expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'slow' });
      });
    }
  });

  describe('because its client is too slow', () => {
    type Step =
      | { readonly do: 'entry' | 'direct'; readonly size: number }
      | { readonly do: 'block' | 'drain' | 'tick' | 'gap' }
      | { readonly do: 'progress'; readonly size: number };
    const size = fc.integer({ min: 1, max: 90 });
    const steps = fc.array(
      fc.oneof(
        { weight: 8, arbitrary: fc.record({ do: fc.constant('entry' as const), size }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('direct' as const), size }) },
        { weight: 3, arbitrary: fc.record({ do: fc.constant('progress' as const), size }) },
        {
          weight: 3,
          arbitrary: fc.record({
            do: fc.constantFrom('block' as const, 'drain' as const, 'tick' as const, 'gap' as const),
          }),
        },
      ),
      { minLength: 10, maxLength: 80 },
    );

    /** One stream from its beginning to its end, once everything has drained. */
    const run = async (policy: SendBufferPolicy, plan: readonly Step[]): Promise<string> => {
      bench.stop();
      bench = new Bench({ policy, maxBytes: 700 });
      const { connection, sink } = bench.open();
      let next = 1;
      for (const step of plan) {
        switch (step.do) {
          case 'entry':
            connection.enqueue(entryOf(next, step.size));
            next += 1;
            break;
          case 'direct':
            connection.enqueue(frame('d'.repeat(step.size)));
            break;
          case 'gap':
            connection.reportGap(gap('GAP', next - 1, next));
            next += 1;
            break;
          case 'block':
            sink.block();
            break;
          case 'drain':
            sink.drain();
            break;
          case 'progress':
            sink.progress(step.size);
            break;
          case 'tick':
            await turn();
            break;
        }
      }
      await turn();
      sink.drain();
      connection.enqueue(entryOf(next, 1));
      await turn();
      sink.drain();
      return sink.text;
    };

    for (const policy of ['drop-oldest', 'drop-newest'] satisfies SendBufferPolicy[]) {
      it(`reports every gap once, where it begins, under ${policy}`, async () => {
        await fc.assert(
          fc.asyncProperty(steps, async plan => {
            const events = eventsIn(await run(policy, plan));
            let position = 0;
            // Whether an event that is no entry was accepted since the last reset.
            let between = false;
            let former: { reason: Gap['reason']; resumedFrom: string } | undefined;
            for (const { event, data, id } of events) {
              if (data.startsWith('d')) {
                between = true;
                continue;
              }
              if (event === 'sse.reset') {
                const reset = JSON.parse(data) as { reason: Gap['reason']; resumedFrom: string };
                if (id !== undefined) expect(id).to.equal(reset.resumedFrom);
                // What follows a notice at once is a gap of another kind, or another gap.
                if (former === undefined) {
                  expect(reset.resumedFrom).to.equal(formatCursor(at(position)));
                } else if (!between) expect([former.reason, reset.reason]).to.include('GAP');
                former = reset;
                between = false;
                continue;
              }
              const number = Number(data.split(' ')[0]);
              expect(number).to.be.greaterThan(position);
              const whole = number === position + 1;
              expect(former === undefined, `a gap before ${number}`).to.equal(whole);
              position = number;
              former = undefined;
            }
            expect(position).to.be.greaterThan(0);
          }),
          { numRuns: 500 },
        );
      });
    }
  });
});

function entryOf(offset: number, size: number): Frame {
  return frame(`${offset} ${'x'.repeat(size)}`, at(offset));
}
