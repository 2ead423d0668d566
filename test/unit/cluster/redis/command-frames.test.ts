import { expect } from 'chai';
import fc from 'fast-check';
import {
  type Command,
  type CommandAnswer,
  encodeAnswer,
  encodeRequest,
  parseAnswer,
  parseRequest,
} from '../../../../src/cluster/redis/command-frames.js';
import { parseSuperseded } from '../../../../src/cluster/redis/frames.js';

const ID = '0123456789abcdef01234567';
const FROM = `a~${'1'.repeat(20)}`;
const HEAD = { id: ID, from: FROM, at: 1_800_000_000_000, deadline: 1_500 };
const COMMANDS: readonly Command[] = [
  { t: 'join' },
  { t: 'leave' },
  { t: 'ping' },
  { t: 'count' },
  { t: 'sync', repaired: 3 },
  { t: 'close', connectionId: 'c1', reason: 'kicked' },
  { t: 'closeAll', reason: 'kicked' },
  { t: 'subscribe', connectionId: 'c1', topic: 'news' },
  { t: 'unsubscribe', connectionId: 'c1', topic: 'news' },
  { t: 'hasReached', connectionId: 'c1', ms: 1, sequence: 0 },
  { t: 'confirm', connectionId: 'c1', token: 'k', handled: ['m1'], failed: ['m2'] },
  { t: 'isConfirmed', connectionId: 'c1', messageId: 'm1', ms: 1 },
  { t: 'presence', topic: 'news' },
];
const ANSWER: CommandAnswer = { id: ID, from: FROM, ok: true, data: true };
/** Values that no field but its own kind accepts. */
const WRONG = [null, [], {}, -1, 1.5, 2 ** 53, '', 'x\n', 'x'.repeat(2_000), false, { length: 1 }];

const request = (value: object) => parseRequest(Buffer.from(`c1${JSON.stringify(value)}`));
const answer = (value: object) => parseAnswer(Buffer.from(`r1${JSON.stringify(value)}`));
const SENDER = { id: ID, from: FROM };
const without = (value: object, name: string): object =>
  Object.fromEntries(Object.entries(value).filter(([key]) => key !== name));

describe('frames of commands', () => {
  for (const command of COMMANDS) {
    it(`${command.t}: comes back as it was written, and not otherwise`, () => {
      const whole = { ...HEAD, to: FROM, command };
      expect(parseRequest(encodeRequest(whole))).to.deep.equal(whole);
      expect(request({ ...HEAD, command: { ...command, extra: 1 } })).to.deep.equal(SENDER);
      for (const [name, value] of Object.entries(command)) {
        expect(request({ ...HEAD, command: without(command, name) }), name).to.deep.equal(SENDER);
        for (const wrong of WRONG) {
          // A list may be empty.
          if (Array.isArray(value) && Array.isArray(wrong)) continue;
          const changed = { ...HEAD, command: { ...command, [name]: wrong } };
          expect(request(changed), `${name} ${typeof value}`).to.deep.equal(SENDER);
        }
      }
    });
  }

  it('a request carries the trace of its cause, and only what can be one', () => {
    const whole = { ...HEAD, to: FROM, command: { t: 'closeAll', reason: 'kicked' }, trace: 'k3 00-a-b-01' } as const;
    expect(parseRequest(encodeRequest(whole))).to.deep.equal(whole);
    for (const trace of [null, 1, '', 'x\n', 'x'.repeat(2_000)]) {
      expect(request({ ...whole, trace }), String(trace)).to.deep.equal({ ...SENDER, to: FROM });
    }
  });

  it('names the sender of a command that only another version can have written', () => {
    const command = { t: 'juggle', balls: 3 };
    expect(request({ ...HEAD, to: FROM, command })).to.deep.equal({ ...SENDER, to: FROM });
    for (const t of ['toString', '__proto__', 'constructor', 7]) {
      expect(request({ ...HEAD, command: { t } }), String(t)).to.deep.equal(SENDER);
    }
    expect(request({ ...HEAD, command: { t: 'ping' }, extra: 1 })).to.deep.equal(SENDER);
    for (const at of WRONG) {
      expect(request({ ...HEAD, at, command: { t: 'ping' } })).to.deep.equal(SENDER);
    }
    expect(request({ ...HEAD, deadline: 600_001, command: { t: 'ping' } })).to.deep.equal(SENDER);
  });

  it('is nothing without a sender, and with a wrong one', () => {
    const command = { t: 'ping' };
    for (const wrong of [...WRONG, undefined]) {
      expect(request({ ...HEAD, command, id: wrong })).to.equal(undefined);
      expect(request({ ...HEAD, command, from: wrong })).to.equal(undefined);
      if (wrong !== undefined) {
        expect(request({ ...HEAD, command, to: wrong })).to.equal(undefined);
      }
    }
    expect(request({ ...HEAD, command, id: ID.toUpperCase() })).to.equal(undefined);
  });

  it('reads own keys only', () => {
    const text = JSON.stringify({ at: 1, deadline: 1, command: { t: 'ping' } });
    const polluting = text.replace('{', `{"__proto__":${JSON.stringify(SENDER)},`);
    expect(parseRequest(Buffer.from(`c1${polluting}`))).to.equal(undefined);
  });

  it('answers come back as they were written, and not otherwise', () => {
    const ids = Array.from({ length: 500 }, (_, n) => `c${n}`);
    for (const data of [true, -5, 'x'.repeat(1_024), ids, []]) {
      const written = { ...ANSWER, ok: data !== true, data };
      expect(parseAnswer(encodeAnswer(written))).to.deep.equal(written);
    }
    expect(answer({ ...ANSWER, more: true })).to.deep.equal({ ...ANSWER, more: true });
    for (const data of [null, {}, 1.5, 'x'.repeat(1_025), [...ids, 'c500'], [1], ['x\n'], [ids]]) {
      expect(answer({ ...ANSWER, data })).to.equal(undefined);
    }
    for (const name of ['id', 'from', 'ok', 'data'] as const) {
      expect(answer(without(ANSWER, name)), name).to.equal(undefined);
    }
    for (const changed of [{ ok: 1 }, { more: 1 }, { extra: 1 }, { id: 'x' }, { from: 'x' }]) {
      expect(answer({ ...ANSWER, ...changed })).to.equal(undefined);
    }
  });

  it('are 256 KiB at most, of their own kind, and JSON objects', () => {
    const frame = encodeRequest({ ...HEAD, command: { t: 'ping' } });
    const long = (bytes: number) => Buffer.concat([frame, Buffer.alloc(bytes, ' ')]);
    expect(parseRequest(long(256 * 1024 - frame.length))).to.include({ id: ID });
    expect(parseRequest(long(256 * 1024 - frame.length + 1))).to.equal(undefined);
    for (const text of ['', 'c1', 'c1[]', 'c1null', 'c1"x"', 'c1{', 'c2{}']) {
      expect(parseRequest(Buffer.from(text)), text).to.equal(undefined);
    }
    expect(parseAnswer(frame)).to.equal(undefined);
  });

  it('random JSON is no frame and throws nothing', () => {
    fc.assert(
      fc.property(fc.json(), text => {
        expect(parseRequest(Buffer.from(`c1${text}`))).to.equal(undefined);
        expect(parseAnswer(Buffer.from(`r1${text}`))).to.equal(undefined);
        expect(parseSuperseded(Buffer.from(text))).to.equal(undefined);
      }),
    );
  });
});

describe('the frame of a takeover', () => {
  const written = { v: 1, t: 'superseded', c: 'c1', k: 't1', f: '9' };
  const parse = (value: object) => parseSuperseded(Buffer.from(JSON.stringify(value)));

  it('is parsed as the script writes it, and not otherwise', () => {
    const parsed = { connectionId: 'c1', token: 't1', fencingToken: 9, trace: undefined };
    expect(parse(written)).to.deep.equal(parsed);
    expect(parse({ ...written, x: 'lx0 00-1' })).to.deep.equal({ ...parsed, trace: 'lx0 00-1' });
    for (const x of ['a\nb', 'x'.repeat(1025), '\u0000']) expect(parse({ ...written, x })).to.deep.equal(parsed);
    for (const changed of [
      { v: 2 },
      { t: 'other' },
      { c: 1 },
      { k: 'x'.repeat(17) },
      { f: 'x'.repeat(21) },
      { c: 'x'.repeat(257) },
      { extra: 1 },
      { x: 1 },
      { x: null },
    ]) {
      expect(parse({ ...written, ...changed }), JSON.stringify(changed)).to.equal(undefined);
    }
    for (const name of Object.keys(written)) {
      expect(parse(without(written, name)), name).to.equal(undefined);
    }
  });
});
