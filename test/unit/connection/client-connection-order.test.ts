import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import type { Frame } from '../../../src/contracts/events.js';
import { Bench, frameOf } from './connection-bench.js';

const MAX_BYTES = 300_000;

type Step =
  | { readonly kind: 'enqueue' | 'deliver'; readonly size: number }
  | { readonly kind: 'tick' | 'block' | 'drain' | 'drain one' | 'close' }
  | { readonly kind: 'progress'; readonly bytes: number };

const sizes = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 8, max: 300 }) },
  { weight: 1, arbitrary: fc.constantFrom(65_535, 65_536, 65_537, 150_000) },
);
const takes = fc.record({
  kind: fc.constantFrom('enqueue' as const, 'deliver' as const),
  size: sizes,
});
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 30, arbitrary: takes },
    {
      weight: 20,
      arbitrary: fc.record({
        kind: fc.constantFrom('tick' as const, 'block' as const, 'drain' as const, 'drain one' as const),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constant('progress' as const), bytes: fc.nat(80_000) }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: 'close' as const }) },
  ),
  { maxLength: 60 },
);

describe('ClientConnection under the policy disconnect', () => {
  it('writes exactly the frames it accepted, in order and whole, or is closed', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async sequence => {
        const bench = new Bench({ maxBytes: MAX_BYTES });
        const { connection, sink } = bench.open();
        const accepted: Frame[] = [];
        const expectPrefix = (): void => {
          const all = Buffer.concat(accepted.map(({ bytes }) => bytes));
          const written = sink.bytes;
          const common = Math.min(written.length, all.length);
          expect(written.subarray(0, common).equals(all.subarray(0, common))).to.be.true;
        };
        try {
          for (const step of sequence) {
            switch (step.kind) {
              case 'enqueue':
              case 'deliver': {
                const next = frameOf(step.size, String.fromCharCode(97 + (accepted.length % 26)));
                const waiting = sink.pendingBytes > 0;
                const { outcome } = connection[step.kind](next);
                if (outcome === 'delivered' || outcome === 'buffered') accepted.push(next);
                if (outcome === 'buffered' && waiting) {
                  // A single frame may exceed the bound when it is accepted into an empty buffer.
                  expect(connection.sendBufferBytes).to.be.at.most(MAX_BYTES);
                }
                if (outcome === 'delivered' && step.kind === 'deliver') {
                  expect(sink.pendingBytes).to.equal(0);
                }
                break;
              }
              case 'tick':
                await turn();
                break;
              case 'block':
                sink.block();
                break;
              case 'drain':
                sink.drain();
                break;
              case 'drain one':
                sink.drain(true);
                break;
              case 'progress':
                sink.progress(step.bytes);
                break;
              case 'close':
                connection.close();
                break;
            }
            expectPrefix();
          }
          await turn();
          do sink.drain();
          while (sink.pendingBytes > 0);
          await turn();
          expectPrefix();
          const { state } = connection;
          if (state.kind === 'closed' && state.reason === 'slow') {
            expect(sink.destroyed).to.be.true;
          } else {
            const all = Buffer.concat(accepted.map(({ bytes }) => bytes)).toString();
            const last = /^(id: [^\n]+\n)?event: sse\.closed\ndata: \{"reason":"closed"\}\n\n$/;
            expect(sink.text.startsWith(all)).to.be.true;
            expect(sink.text.slice(all.length)).to.match(state.kind === 'open' ? /^$/ : last);
          }
          expect(bench.used).to.equal(0);
        } finally {
          bench.stop();
        }
      }),
      { numRuns: 500 },
    );
  });
});
