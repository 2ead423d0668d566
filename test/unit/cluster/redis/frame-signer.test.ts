import { expect } from 'chai';
import fc from 'fast-check';
import type { FrameSigner, Purpose } from '../../../../src/cluster/redis/signing.js';
import { signerOf } from '../../../support/redis/signer-of.js';

const BEGIN = 1_800_000_000_000;
const SECRET = 'a secret of at least sixteen';
const PURPOSES: readonly Purpose[] = [
  { kind: 'message', partition: 3 },
  { kind: 'node', inc: `a~${'0'.repeat(20)}` },
  { kind: 'node', inc: `b~${'0'.repeat(20)}` },
  { kind: 'all-nodes' },
  { kind: 'publication', topic: 'news' },
  { kind: 'publication', topic: '*' },
];
const ALL: Purpose = { kind: 'all-nodes' };
const BODY = Buffer.from('data: x\n\n');

/** Redis' clock as a test moves it. */
class TestClock {
  readonly begin = BEGIN;
  now = BEGIN + 1_000;
  raised = 0;

  raise(redis: number): void {
    this.raised = Math.max(this.raised, redis);
  }

  get earliest(): number {
    return this.now;
  }

  get latest(): number {
    return this.now;
  }
}

describe('FrameSigner', () => {
  let clock = new TestClock();
  let sender: FrameSigner;
  let receiver: FrameSigner;
  beforeEach(() => {
    clock = new TestClock();
    sender = signerOf(SECRET, clock);
    receiver = signerOf(SECRET, clock, `r~${'1'.repeat(20)}`);
  });
  const sign = (purpose: Purpose = ALL): Buffer => sender.sign(purpose, BODY);
  const kindOf = (frame: Buffer, purpose: Purpose = ALL, since = 0): string =>
    receiver.verify(purpose, frame, since).kind;

  it('gives the body and the time of a frame back, once', () => {
    for (const purpose of PURPOSES) {
      const frame = sign(purpose);
      const verdict = receiver.verify(purpose, frame);
      expect(verdict).to.include({ kind: 'fresh', at: clock.now });
      expect(clock.raised).to.equal(clock.now);
      expect('body' in verdict && verdict.body).to.deep.equal(BODY);
      expect(kindOf(frame, purpose)).to.equal('seen');
    }
  });

  it('passes frames as they are without a secret', () => {
    const open = signerOf(undefined, clock);
    expect(open.signs).to.equal(false);
    expect(open.sign(ALL, BODY)).to.equal(BODY);
    expect(open.sign(ALL, BODY, '- ').toString()).to.equal(`- ${BODY.toString()}`);
    expect(open.verify(ALL, BODY)).to.include({ kind: 'fresh', body: BODY });
  });

  it('verifies no frame for another purpose', () => {
    for (const purpose of PURPOSES) {
      for (const other of PURPOSES) {
        if (other === purpose) continue;
        const frame = sign(purpose);
        expect(kindOf(frame, other)).to.equal('doubtful');
        expect(receiver.authentic(other, frame)).to.equal(undefined);
      }
    }
  });

  it('verifies no frame with a changed bit, and none that was cut', () => {
    const length = sign().length;
    fc.assert(
      fc.property(fc.nat(length - 1), fc.integer({ min: 1, max: 255 }), (at, bits) => {
        const frame = sign();
        frame[at] = (frame[at] ?? 0) ^ bits;
        expect(kindOf(frame)).not.to.equal('fresh');
        expect(receiver.authentic(ALL, frame)).to.equal(undefined);
        expect(kindOf(sign().subarray(0, at))).not.to.equal('fresh');
      }),
    );
  });

  it('verifies no frame of another secret, and of a list any; the first one signs', () => {
    const [old, next] = ['the former secret', 'the secret to come'];
    const both = signerOf([next, old], clock);
    const ofOld = signerOf(old, clock, `o~${'2'.repeat(20)}`);
    const ofNext = signerOf(next, clock, `n~${'3'.repeat(20)}`);
    expect(both.verify(ALL, ofOld.sign(ALL, BODY)).kind).to.equal('fresh');
    expect(both.verify(ALL, ofNext.sign(ALL, BODY)).kind).to.equal('fresh');
    expect(ofNext.verify(ALL, both.sign(ALL, BODY)).kind).to.equal('fresh');
    expect(ofOld.verify(ALL, both.sign(ALL, BODY)).kind).to.equal('doubtful');
    expect(ofOld.verify(ALL, ofNext.sign(ALL, BODY)).kind).to.equal('doubtful');
  });

  it('accepts frames in any order within 1,024 numbers of one sender, each once, and no older number', () => {
    const frames = Array.from({ length: 1_025 }, () => sign());
    const [first, second, ...others] = frames;
    expect(others.reverse().map(frame => kindOf(frame))).to.deep.equal(others.map(() => 'fresh'));
    expect(kindOf(second ?? BODY)).to.equal('fresh');
    expect(kindOf(first ?? BODY)).to.equal('doubtful');
    expect(frames.slice(1).map(frame => kindOf(frame))).to.deep.equal(frames.slice(1).map(() => 'seen'));
  });

  it('never accepts a frame twice, in whatever order and however often frames arrive', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3_000), fc.nat(40)), { maxLength: 200 }), arrivals => {
        const open = signerOf(SECRET, clock);
        const frames = Array.from({ length: 3_001 }, () => open.sign(ALL, BODY));
        const target = signerOf(SECRET, clock, `t~${'4'.repeat(20)}`);
        const accepted = new Set<number>();
        let highest = -1;
        for (const [from, count] of arrivals) {
          for (const [offset, frame] of frames.slice(from, from + count).entries()) {
            const number = from + offset;
            const isNew = number > highest - 1_024 && !accepted.has(number);
            expect(target.verify(ALL, frame).kind === 'fresh').to.equal(isNew);
            if (isNew) accepted.add(number);
            highest = Math.max(highest, number);
          }
        }
      }),
      { numRuns: 30 },
    );
  });

  it('accepts no frame that is older than the age, or of the future', () => {
    const frame = sign();
    const later = sign();
    clock.now += 60_000;
    expect(kindOf(frame)).to.equal('fresh');
    clock.now += 1;
    expect(kindOf(later)).to.equal('doubtful');
    const ahead = sign();
    clock.now -= 5_001;
    expect(kindOf(ahead)).to.equal('doubtful');
  });

  it('accepts no recorded frame after its sender was forgotten', () => {
    const frame = sign();
    expect(kindOf(frame)).to.equal('fresh');
    clock.now += 60_001;
    const others = Array.from({ length: 3 }, (_, n) => signerOf(SECRET, clock, `o~${String(n).repeat(20)}`));
    for (const other of others) expect(receiver.verify(ALL, other.sign(ALL, BODY)).kind).to.equal('fresh');
    expect(kindOf(frame)).to.equal('doubtful');
  });

  it('accepts no frame for several nodes from before its own start', () => {
    clock.now = BEGIN - 1;
    const frame = sign();
    clock.now = BEGIN + 1_000;
    expect(kindOf(frame)).to.equal('doubtful');
    expect(kindOf(sign())).to.equal('fresh');
  });

  it('accepts nothing before it knows the time', () => {
    const blind = signerOf(SECRET, {
      begin: undefined,
      earliest: undefined,
      latest: undefined,
      raise: () => undefined,
    });
    expect(blind.verify(ALL, sign()).kind).to.equal('doubtful');
  });

  it('reports a frame from shortly before a subscription as early, once, and an older one as doubtful', () => {
    const [old, early] = [sign(), ((clock.now += 2_000), sign())];
    clock.now += 500;
    const since = clock.now;
    expect([kindOf(early, ALL, since), kindOf(early, ALL, since)]).to.deep.equal(['early', 'seen']);
    expect(kindOf(old, ALL, since)).to.equal('doubtful');
    expect(receiver.verify(ALL, old, since, since - 1_500).kind).to.equal('seen');
    expect(kindOf(sign(), ALL, since)).to.equal('fresh');
  });

  it('does not accept a frame whose entry was read', () => {
    const frame = sign();
    receiver.saw(receiver.authentic(ALL, frame)?.origin);
    expect(kindOf(frame)).to.equal('seen');
  });

  it('knows that a message is older than the registration of its connection', () => {
    receiver.registering('t1');
    const before = clock.now - 1;
    expect([receiver.isFor('t1', before), receiver.isFor('t1', clock.now)]).to.deep.equal([false, true]);
    expect(receiver.isFor('t2', 0)).to.equal(true);
    clock.now += 60_001;
    receiver.registering('t3');
    expect(receiver.isFor('t1', 0)).to.equal(true);
    clock.now += 1_000;
    receiver.registering('t4');
    clock.now += 60_000;
    receiver.registering('t5');
    expect(['t3', 't4'].map(token => receiver.isFor(token, 0))).to.deep.equal([true, false]);
  });
});
