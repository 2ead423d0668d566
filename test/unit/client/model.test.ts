import { expect } from 'chai';
import fc from 'fast-check';
import sinon from 'sinon';
import { connect } from '../../../src/client/index.js';
import { amount } from '../../support/extent.js';
import { ScriptedFetch, type ScriptedRequest } from '../../support/scripted-fetch.js';

/** What the server does next. */
type Act =
  | { readonly kind: 'append'; readonly entries: number; readonly cuts: readonly number[] }
  | { readonly kind: 'repeat' | 'trim'; readonly entries: number }
  | { readonly kind: 'end' | 'fail' | 'stall' | 'refuse' | 'half' | 'id' }
  | { readonly kind: 'close'; readonly reason: string; readonly retry: number | undefined }
  | { readonly kind: 'status'; readonly status: number };

const ACT: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      entries: fc.integer({ min: 1, max: 4 }),
      cuts: fc.array(fc.nat(200), { maxLength: 6 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('repeat' as const, 'trim' as const),
      entries: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'end' as const,
        'fail' as const,
        'stall' as const,
        'refuse' as const,
        'half' as const,
        'id' as const,
      ),
    }),
  },
  fc.record({
    kind: fc.constant('close' as const),
    reason: fc.constantFrom('draining', 'max-age', 'failed', 'mine'),
    retry: fc.option(fc.nat(5_000), { nil: undefined }),
  }),
  fc.record({ kind: fc.constant('status' as const), status: fc.constantFrom(429, 500, 503) }),
);

const FIRST = 5;
const idOf = (entry: number): string => `e.${(1_000 + Math.floor(entry / 3)).toString(36)}-${entry.toString(36)}`;
const entryOf = (id: string): number => parseInt(id.slice(id.indexOf('-') + 1), 36);
const textOf = (entry: number): string => `id: ${idOf(entry)}\ndata: ${entry}\ndata: é🙂\n\n`;

/** A server with a log, of which it may have trimmed the older part. */
class LogServer {
  readonly scripted = new ScriptedFetch();
  head = FIRST;
  trimmed = 0;
  #request: ScriptedRequest | undefined;
  /** The last entry written to the present connection. */
  #written = 0;

  constructor(private readonly clock: sinon.SinonFakeTimers) {}

  /** Answers a request that waits for it, with everything that its client misses. */
  async serve(): Promise<void> {
    for (
      let waited = 0;
      this.#request === this.scripted.requests.at(-1) || this.scripted.last.init.signal.aborted;
      waited += 1
    ) {
      if (waited > 200) throw new Error('the client does not come back');
      await this.clock.tickAsync(500);
    }
    this.#request = this.scripted.last;
    const { lastEventId } = this.#request;
    const from = lastEventId === undefined ? this.head : entryOf(lastEventId);
    this.#written = from;
    const missed = from < this.trimmed;
    this.#request.open(missed ? undefined : idOf(from));
    if (missed) {
      this.#written = this.trimmed;
      const reset = { reason: 'GAP', topics: ['a'], resumedFrom: idOf(this.trimmed) };
      this.#request.send(`id: ${reset.resumedFrom}\nevent: sse.reset\ndata: ${JSON.stringify(reset)}\n\n`);
    }
    this.#write([]);
    await this.clock.tickAsync(0);
  }

  async act(act: Act): Promise<void> {
    const request = this.#request;
    if (request === undefined || request.init.signal.aborted) {
      await this.serve();
      return;
    }
    switch (act.kind) {
      case 'append':
        this.head += act.entries;
        this.#write(act.cuts);
        break;
      case 'repeat':
        for (let entry = Math.max(1, this.#written - act.entries); entry <= this.#written; entry += 1)
          request.send(textOf(entry));
        break;
      case 'trim':
        // Published while the client is away, and trimmed before it comes back.
        request.end();
        this.head += act.entries;
        this.trimmed = this.head - 1;
        break;
      case 'half':
        request.send(textOf(this.head + 1).slice(0, -1));
        request.fail('cut');
        break;
      case 'id':
        request.send(`id: ${idOf(this.#written)}\n\n`);
        break;
      case 'end':
        request.end();
        break;
      case 'fail':
        request.fail('reset');
        break;
      case 'stall':
        await this.clock.tickAsync(80_000);
        break;
      case 'close':
        request.close(act.reason, act.retry);
        break;
      case 'status':
      case 'refuse':
        request.end();
        await this.#refuseNext(act);
        break;
    }
    await this.clock.tickAsync(0);
  }

  async #refuseNext(act: Act): Promise<void> {
    const before = this.scripted.requests.length;
    while (this.scripted.requests.length === before) await this.clock.tickAsync(500);
    if (act.kind === 'status') this.scripted.last.refuse(act.status);
    else {
      this.scripted.last.head();
      this.scripted.last.close('full', 2_000);
    }
  }

  #write(cuts: readonly number[]): void {
    let text = '';
    while (this.#written < this.head) text += textOf((this.#written += 1));
    const bytes = new TextEncoder().encode(text);
    const at = [0, ...cuts.map(cut => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
    for (const [index, end] of at.slice(1).entries()) {
      const part = bytes.subarray(at[index], end);
      if (part.length > 0) this.#request?.send(part);
    }
  }
}

describe('client: model', () => {
  it('delivers the log from its first id on, in order and once, or reports the gap', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(ACT, { minLength: 5, maxLength: 25 }), async acts => {
        const clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
        const server = new LogServer(clock);
        const stream = connect('http://server.test/', { fetch: server.scripted.fetch, maxDelay: 5_000 });
        try {
          const got: (number | 'gap')[] = [];
          stream.on('message', data => got.push(Number(String(data).split('\n')[0])));
          stream.onGap(() => got.push('gap'));
          await clock.tickAsync(0);
          await server.serve();
          for (const act of acts) await server.act(act);
          await server.act({ kind: 'end' });
          await server.serve();
          check(got, server.head);
        } finally {
          stream.close();
          clock.restore();
        }
      }),
      { numRuns: amount(60, 2_000) },
    );
  });
});

/** Every entry after the first id is there, one after the other; a gap stands before each jump. */
function check(got: readonly (number | 'gap')[], head: number): void {
  let last = FIRST;
  let gap = false;
  for (const entry of got) {
    if (entry === 'gap') gap = true;
    else {
      const fits = gap ? entry > last : entry === last + 1;
      expect(fits, `entry ${entry} after ${last} in ${got.join(' ')}`).to.equal(true);
      last = entry;
      gap = false;
    }
  }
  if (!gap) expect(last, got.join(' ')).to.equal(head);
}
