import { expect } from 'chai';
import fc from 'fast-check';
import sinon from 'sinon';
import { confirm, connect, type FetchInit } from '../../../src/client/index.js';
import { amount } from '../../support/extent.js';
import { ScriptedFetch } from '../../support/scripted-fetch.js';

/** What a listener does with an event. `later` and `refuse-later` are promises, `never` is one that stays open. */
type Way = 'return' | 'throw' | 'later' | 'refuse-later' | 'never';

type Act =
  | { readonly kind: 'send'; readonly ways: readonly Way[] }
  /** How the next report is answered; 0: the network fails. */
  | { readonly kind: 'answer'; readonly status: 0 | 408 | 429 | 503 }
  | { readonly kind: 'end' }
  | { readonly kind: 'wait'; readonly ms: number };

const ACT: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      ways: fc.array(fc.constantFrom<Way>('return', 'throw', 'later', 'refuse-later', 'never'), { minLength: 1 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('answer' as const), status: fc.constantFrom(0, 408, 429, 503) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'end' as const }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(400) }) },
);

interface Report {
  readonly connectionId: string;
  readonly token: string;
  readonly handled: readonly string[];
  readonly failed: readonly string[];
}

const LATER_MS = 150;
const HANDLED: readonly Way[] = ['return', 'later'];

/** A server that asks for a confirmation of each event, and answers reports as the acts say. */
class AskingServer {
  /** What the listener does with each event, by its number; and the connection that it went to. */
  readonly sent: { readonly way: Way; readonly connection: number }[] = [];
  /** Reports that were answered with 204. */
  readonly accepted: Report[] = [];
  readonly #scripted = new ScriptedFetch();
  #answers: number[] = [];
  #served = 0;

  constructor(private readonly clock: sinon.SinonFakeTimers) {}

  /** The number of the present connection. */
  get connection(): number {
    return this.#served;
  }

  readonly fetch = (url: string, init: FetchInit): Promise<Response> => {
    if (init.method !== 'POST') return this.#scripted.fetch(url, init);
    const status = this.#answers.shift() ?? 204;
    if (status === 0) return Promise.reject(new TypeError('the network failed'));
    if (status === 204) this.accepted.push(JSON.parse(String(init.body)) as Report);
    return Promise.resolve(new Response(null, { status }));
  };

  async serve(): Promise<void> {
    while (this.#scripted.requests.length === this.#served) await this.clock.tickAsync(500);
    this.#served += 1;
    const facts = { connectionId: `c${this.#served}`, nodeId: 'n', confirm: `t${this.#served}` };
    this.#scripted.last.head();
    this.#scripted.last.send(`event: connected\ndata: ${JSON.stringify(facts)}\n\n`);
    await this.clock.tickAsync(0);
  }

  async act(act: Act): Promise<void> {
    if (act.kind === 'answer') this.#answers.push(act.status);
    if (act.kind === 'wait') await this.clock.tickAsync(act.ms);
    if (act.kind === 'send') {
      const events = act.ways.map(way => this.sent.push({ way, connection: this.#served }) - 1);
      this.#scripted.last.send(events.map(event => `confirm: m${event}\nevent: note\ndata: ${event}\n\n`).join(''));
      await this.clock.tickAsync(0);
    }
    if (act.kind === 'end') {
      this.#scripted.last.end();
      await this.clock.tickAsync(0);
      await this.serve();
    }
  }

  /** From now on every report is accepted. */
  async recover(): Promise<void> {
    this.#answers = [];
    await this.clock.tickAsync(120_000);
  }
}

function listenerDoes(way: Way | undefined): unknown {
  if (way === 'throw') throw new Error('the listener failed');
  if (way === 'never') return new Promise(() => undefined);
  if (way === 'later') return new Promise(resolve => setTimeout(resolve, LATER_MS));
  if (way === 'refuse-later') return new Promise((_, reject) => setTimeout(() => reject(new Error('late')), LATER_MS));
  return undefined;
}

describe('client: model of confirmations', () => {
  it('confirms what its listeners handled, each event once, loses none and makes none up', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(ACT, { minLength: 3, maxLength: 25 }), async acts => {
        const clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
        const server = new AskingServer(clock);
        const options = { fetch: server.fetch, confirm, silence: false, onError: () => undefined } as const;
        const stream = connect<{ note: number }>('http://server.test/', options);
        try {
          stream.on('note', event => listenerDoes(server.sent[event]?.way));
          await server.serve();
          for (const act of acts) await server.act(act);
          await server.recover();
          check(server);
        } finally {
          stream.close();
          clock.restore();
        }
      }),
      { numRuns: amount(60, 2_000) },
    );
  });
});

function check({ sent, accepted, connection: last }: AskingServer): void {
  const reported = accepted.flatMap(({ connectionId, token, handled, failed }) => {
    expect(connectionId.slice(1)).to.equal(token.slice(1));
    return [handled, failed].flatMap((ids, index) =>
      ids.map(id => ({ event: Number(id.slice(1)), connection: Number(token.slice(1)), handled: index === 0 })),
    );
  });
  for (const { event, connection, handled } of reported) {
    const { way = 'never', connection: to } = sent[event] ?? {};
    expect({ connection, handled }, `event ${event}`).to.deep.equal({ connection: to, handled: HANDLED.includes(way) });
    expect(way).to.not.equal('never');
  }
  const events = reported.map(({ event }) => event);
  expect(events).to.have.length(new Set(events).size);
  // A report after the end of its connection is of no use.
  for (const [event, { way, connection }] of sent.entries()) {
    if (connection === last && way !== 'never') expect(events).to.include(event);
  }
}
