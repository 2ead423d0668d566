import { expect } from 'chai';
import fc from 'fast-check';
import { parseJoined } from '../../../../src/cluster/redis/cluster-node.js';
import {
  encodeAnswer,
  encodeRequest,
  parseAnswer,
  parseRequest,
} from '../../../../src/cluster/redis/command-frames.js';
import {
  encodeAck,
  encodeAcks,
  encodeMessage,
  encodePayload,
  encodeUnkept,
  parseAcks,
  parseMessage,
  parsePayload,
  parsePublication,
  parseSuperseded,
} from '../../../../src/cluster/redis/frames.js';
import type { FrameSigner } from '../../../../src/cluster/redis/signing.js';
import { amount } from '../../../support/extent.js';
import { joined } from '../../../support/redis/joined.js';
import { signerOf } from '../../../support/redis/signer-of.js';

const NOW = 1_800_000_000_000;
const CLOCK = { begin: NOW - 60_000, earliest: NOW, latest: NOW, raise: () => undefined };
const INC = `a~${'0'.repeat(20)}`;
const RUNS = { numRuns: amount(100, 5_000) };
const STATE = { topic: 'news', since: NOW - 1_000, readAt: 0, headMs: NOW };

const event = fc
  .string({ maxLength: 200, unit: 'grapheme' })
  .map(text => Buffer.from(`data: ${text.replace(/[\r\n]/g, '')}\n\n`));
const trace = fc.option(fc.constant('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'), { nil: undefined });
const name = fc
  .string({ minLength: 1, maxLength: 60, unit: 'grapheme' })
  .filter(text => !/\p{C}/u.test(text) && Buffer.byteLength(text) <= 128);
const topic = name.filter(text => !/^([@~]|\*$)/.test(text));
const publicationId = fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/);
const payload = fc.record({ trace, id: fc.option(publicationId, { nil: undefined }), body: event });

/** Bytes that are none of ours, or nearly so. */
function damaged(genuine: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  const cut = fc.tuple(genuine, fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }));
  return fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
    cut.map(([frame, from, to]) => frame.subarray(Math.floor(from * frame.length), Math.ceil(to * frame.length))),
    fc.tuple(genuine, fc.nat(), fc.integer({ min: 1, max: 255 })).map(([frame, at, bits]) => {
      const copy = Buffer.from(frame);
      copy[at % copy.length] = (copy[at % copy.length] ?? 0) ^ bits;
      return copy;
    }),
    fc.tuple(genuine, fc.uint8Array({ maxLength: 20 })).map(([frame, more]) => Buffer.concat([frame, more])),
  );
}

/** Whether bytes are one block of event-stream text, so that a client gets no second event by them. */
function isOneEvent(body: Buffer): boolean {
  const text = body.toString('latin1');
  return text.endsWith('\n\n') && text.indexOf('\n\n') === text.length - 2 && !text.includes('\r');
}

for (const secret of [undefined, 'a secret of at least sixteen']) {
  describe(`parsers of publications, ${secret === undefined ? 'unsigned' : 'signed'}`, () => {
    const signer = (): FrameSigner => signerOf(secret, CLOCK);
    const receiver = (): FrameSigner => signerOf(secret, CLOCK, `r~${'1'.repeat(20)}`);
    const kept = payload.map(given =>
      Buffer.concat([Buffer.from(`e1 ${NOW}-5 ${NOW}-4 `), encodePayload(signer(), 'news', given)]),
    );

    it('give back what was encoded, live and from the log', () => {
      fc.assert(
        fc.property(payload, name, (given, topic) => {
          const entry = encodePayload(signer(), topic, given);
          expect(parsePayload(receiver(), topic, entry)).to.deep.include({ kind: 'event', ...given });
          const state = { ...STATE, topic };
          const live = Buffer.concat([Buffer.from(`e1 ${NOW}-5 ${NOW}-4 `), entry]);
          const position = { ms: NOW, sequence: 5 };
          const expected = { epoch: 'e1', position, previous: { ms: NOW, sequence: 4 } };
          expect(parsePublication(receiver(), state, live)).to.deep.equal({ kind: 'kept', ...given, entry: expected });
          const unkept = encodeUnkept(signer(), topic, given);
          expect(parsePublication(receiver(), state, unkept)).to.deep.equal({ kind: 'unkept', ...given });
        }),
        RUNS,
      );
    });

    it('never throw, and give nothing but whole events', () => {
      fc.assert(
        fc.property(damaged(kept), frame => {
          const live = parsePublication(receiver(), STATE, frame);
          if (live.kind === 'kept' || live.kind === 'unkept') expect(isOneEvent(live.body)).to.equal(true);
          const entry = parsePayload(receiver(), 'news', frame);
          if (entry.kind === 'event') expect(isOneEvent(entry.body)).to.equal(true);
        }),
        RUNS,
      );
    });

    it('find an entry of another version unreadable, and its frame a reason to read the log', () => {
      for (const version of ['1', '3', 'x', '']) {
        const entry = Buffer.from(`${version}-\ndata: x\n\n`);
        expect(parsePayload(receiver(), 'news', entry)).to.deep.equal({ kind: 'unreadable' });
        const live = Buffer.concat([Buffer.from(`e1 ${NOW}-5 ${NOW}-4 `), entry]);
        expect(parsePublication(receiver(), STATE, live)).to.deep.equal({ kind: 'doubtful' });
      }
    });

    if (secret === undefined) return;

    it('find no damaged entry readable, and none of another topic', () => {
      fc.assert(
        fc.property(payload, fc.nat(), fc.integer({ min: 1, max: 255 }), (given, at, bits) => {
          const entry = encodePayload(signer(), 'news', given);
          expect(parsePayload(receiver(), 'sport', entry)).to.deep.equal({ kind: 'unreadable' });
          entry[at % entry.length] = (entry[at % entry.length] ?? 0) ^ bits;
          expect(parsePayload(receiver(), 'news', entry)).to.deep.equal({ kind: 'unreadable' });
        }),
        RUNS,
      );
    });

    it('find no position credible that is more than five seconds ahead of its event', () => {
      const entry = encodePayload(signer(), 'news', { trace: undefined, body: Buffer.from('data: x\n\n') });
      const at = (ms: number) => Buffer.concat([Buffer.from(`e1 ${ms}-5 ${NOW}-4 `), entry]);
      expect(parsePublication(receiver(), STATE, at(NOW + 5_000)).kind).to.equal('kept');
      expect(parsePublication(receiver(), STATE, at(NOW + 5_001)).kind).to.equal('doubtful');
      // After a failover ids run ahead of the clock; then those before it do as well.
      expect(parsePublication(receiver(), { ...STATE, headMs: NOW + 60_000 }, at(NOW + 60_000)).kind).to.equal('kept');
    });
  });
}

describe('parsers of frames between nodes', () => {
  const message = fc.record({
    from: fc.constant(INC),
    attempt: fc.constantFrom('1.0', 'zz.3'),
    ack: fc.boolean(),
    connectionId: name,
    messageId: name,
    trace,
    bytes: event,
  });
  const request = fc.record({
    id: fc.constant('0'.repeat(24)),
    from: fc.constant(INC),
    at: fc.nat(),
    deadline: fc.nat(600_000),
    command: fc.oneof(
      fc.constant({ t: 'ping' } as const),
      topic.map(aTopic => ({ t: 'presence', topic: aTopic }) as const),
    ),
  });
  const ack = fc.record({
    attempt: fc.constantFrom('1.0', 'zz.3'),
    result: fc.oneof(
      fc.constantFrom(...(['delivered', 'buffered', 'not-connected'] as const)).map(outcome => ({ outcome })),
      fc.constant({ outcome: 'rejected', code: 'EVENT_TOO_LARGE' } as const),
    ),
  });
  const acks = fc.array(ack, { minLength: 1, maxLength: 20 });

  it('give back what was joined', () => {
    const some = fc.array(message.map(encodeMessage), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(some, messages => {
        expect(parseJoined(joined(messages))).to.deep.equal(messages);
      }),
      RUNS,
    );
  });

  it('find nothing joined in bytes that are no list of lengths and messages', () => {
    const odd = [
      '+',
      '+2 ab',
      '+ 3 ab',
      '+ 2 abc',
      '+ 2 ab ',
      '+  ab',
      '+ 0 ',
      '+ -2 ab',
      '+ 2',
      '+ 2x ab',
      '+ 9e9 ab',
    ];
    odd.push(`+ ${'9'.repeat(400)} ab`);
    for (const text of odd) expect(parseJoined(Buffer.from(text)), text).to.equal(undefined);
    const some = fc.array(message.map(encodeMessage), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(damaged(some.map(joined)), frame => {
        // The lengths of what is found fill the frame.
        const found = parseJoined(frame);
        if (found !== undefined) expect(joined(found).subarray(2).length).to.be.at.most(frame.length);
      }),
      RUNS,
    );
  });

  it('give back what was encoded', () => {
    fc.assert(
      fc.property(message, request, acks, (aMessage, aRequest, someAcks) => {
        expect(parseMessage(encodeMessage(aMessage))).to.deep.equal(aMessage);
        expect(parseRequest(encodeRequest(aRequest))).to.deep.equal(aRequest);
        expect(parseAcks(encodeAcks(INC, someAcks.map(encodeAck)))).to.deep.equal({ from: INC, acks: someAcks });
      }),
      RUNS,
    );
  });

  it('never throw, and give nothing but whole events', () => {
    const answer = encodeAnswer({ id: '0'.repeat(24), from: INC, ok: true, data: ['c1'] });
    const notice = Buffer.from(JSON.stringify({ v: 1, t: 'superseded', c: 'c1', k: 't1', f: '9' }));
    const genuine = fc.oneof(
      message.map(encodeMessage),
      request.map(encodeRequest),
      acks.map(some => encodeAcks(INC, some.map(encodeAck))),
      fc.constantFrom(answer, notice),
    );
    fc.assert(
      fc.property(damaged(genuine), frame => {
        const parsed = parseMessage(frame);
        if (parsed !== undefined) expect(isOneEvent(parsed.bytes)).to.equal(true);
        parseAcks(frame);
        parseRequest(frame);
        parseAnswer(frame);
        parseSuperseded(frame);
      }),
      RUNS,
    );
  });
});
