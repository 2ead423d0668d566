import { expect } from 'chai';
import fc from 'fast-check';
import { SseError, type SseErrorCode } from '../../../src/errors.js';
import {
  checkConnectionId,
  checkEventId,
  checkEventName,
  checkKey,
  checkReason,
  checkRetry,
  checkTopic,
} from '../../../src/protocol/names.js';
import { codeOf } from './code-of.js';
import { hostileField, hostileText } from './hostile-text.js';

interface Rule {
  readonly name: string;
  readonly code: SseErrorCode;
  readonly maxBytes: number;
  readonly check: (value: unknown) => void;
}

const NO_STRINGS: readonly unknown[] = [undefined, null, 1, 1n, true, {}, ['a'], Symbol('s')];

/** Names: control characters of any kind are refused, and so is the empty text. */
const NAMES: readonly Rule[] = [
  {
    name: 'checkConnectionId',
    code: 'INVALID_CONNECTION_ID',
    maxBytes: 256,
    check: checkConnectionId,
  },
  { name: 'checkTopic', code: 'INVALID_TOPIC', maxBytes: 256, check: checkTopic },
  {
    name: 'checkKey',
    code: 'INVALID_EVENT_ID',
    maxBytes: 128,
    check: value => {
      checkKey('a message id', value);
    },
  },
];

/** Fields of an event: only what breaks the framing is refused. */
const FIELDS: readonly Rule[] = [
  { name: 'checkEventName', code: 'INVALID_EVENT_NAME', maxBytes: 256, check: checkEventName },
  { name: 'checkEventId', code: 'INVALID_EVENT_ID', maxBytes: 256, check: checkEventId },
];

for (const { name, code, maxBytes, check } of [...NAMES, ...FIELDS]) {
  const verdict = (value: unknown): SseErrorCode | undefined =>
    codeOf(() => {
      check(value);
    });

  describe(name, () => {
    it(`takes up to ${maxBytes} bytes of UTF-8 and not one more`, () => {
      expect(verdict('x'.repeat(maxBytes))).to.equal(undefined);
      expect(verdict('é'.repeat(maxBytes / 2))).to.equal(undefined);
      expect(verdict('x'.repeat(maxBytes + 1))).to.equal(code);
      expect(verdict(`${'é'.repeat(maxBytes / 2)}x`)).to.equal(code);
    });

    it('refuses CR, LF and NUL wherever they stand', () => {
      for (const bad of ['\r', '\n', '\0']) {
        for (const text of [bad, `a${bad}`, `${bad}a`, `a${bad}b`, `a${bad}\n`]) {
          expect(verdict(text)).to.equal(code);
        }
      }
    });

    it('refuses lone surrogates, which would arrive as another text', () => {
      expect([verdict('a\ud83d'), verdict('\ude00a'), verdict('\ude00\ud83d')]).to.deep.equal([code, code, code]);
      expect(verdict('\u{1f600}')).to.equal(undefined);
    });

    it('refuses what is no string', () => {
      for (const value of NO_STRINGS) expect(verdict(value)).to.equal(code);
    });

    it('refuses hostile text with its code or not at all', () => {
      fc.assert(
        fc.property(hostileText, text => {
          expect([undefined, code]).to.include(verdict(text));
        }),
        { numRuns: 2000 },
      );
    });
  });
}

for (const { name, code, check } of NAMES) {
  const verdict = (value: unknown): SseErrorCode | undefined =>
    codeOf(() => {
      check(value);
    });

  describe(name, () => {
    it('refuses the empty text', () => {
      expect(verdict('')).to.equal(code);
    });

    it('refuses every control character', () => {
      for (const point of [...Array(32).keys(), ...Array.from({ length: 33 }, (_, i) => 127 + i)]) {
        expect(verdict(`a${String.fromCodePoint(point)}b`), `U+${point}`).to.equal(code);
      }
      expect(verdict('a\u00a0b\u2028')).to.equal(undefined);
    });
  });
}

for (const { name, check } of FIELDS) {
  it(`${name} takes the empty text and control characters that break nothing`, () => {
    for (const text of ['', '\t', '\u0085', '\u2028', '\ufeff', ' leading', ':']) {
      expect(
        codeOf(() => {
          check(text);
        }),
      ).to.equal(undefined);
    }
  });
}

describe('checkTopic', () => {
  it("refuses '*' and names that begin with '@', which the log needs", () => {
    for (const topic of ['*', '@', '@me']) {
      expect(
        codeOf(() => {
          checkTopic(topic);
        }),
      ).to.equal('INVALID_TOPIC');
    }
    for (const topic of ['**', 'a*', 'a@b', 'news/*']) {
      expect(
        codeOf(() => {
          checkTopic(topic);
        }),
      ).to.equal(undefined);
    }
  });
});

describe('checkEventName', () => {
  it('says where the name stands when the data came in its place', () => {
    expect(() => checkEventName({ a: 1 })).to.throw(SseError, 'got object; it stands in front of the data');
    expect(() => checkEventName('a\n')).to.throw(SseError, /got "a\\n"$/);
  });

  it("refuses the library's own names", () => {
    for (const event of ['connected', 'sse.', 'sse.closed', 'sse.anything']) {
      expect(
        codeOf(() => {
          checkEventName(event);
        }),
      ).to.equal('INVALID_EVENT_NAME');
    }
  });

  it('takes names that only look like them', () => {
    for (const event of ['Connected', 'connected2', 'sse', 'SSE.closed', 'my.sse.closed']) {
      expect(
        codeOf(() => {
          checkEventName(event);
        }),
      ).to.equal(undefined);
    }
  });

  it('takes any other text without line breaks', () => {
    fc.assert(
      fc.property(
        hostileField.filter(event => event !== 'connected' && !event.startsWith('sse.')),
        event => {
          expect(
            codeOf(() => {
              checkEventName(event);
            }),
          ).to.equal(undefined);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('checkRetry', () => {
  it('takes whole milliseconds from 0 up', () => {
    for (const retry of [0, 1, 2500, 2 ** 31 - 1]) {
      expect(
        codeOf(() => {
          checkRetry(retry);
        }),
      ).to.equal(undefined);
    }
  });

  it('refuses everything else', () => {
    for (const retry of [-1, 0.5, Number.NaN, Infinity, 2 ** 53, '5', 5n, null, undefined, {}]) {
      expect(
        codeOf(() => {
          checkRetry(retry);
        }),
      ).to.equal('INVALID_RETRY');
    }
  });
});

describe('checkReason', () => {
  it('takes tokens of 1 to 64 characters', () => {
    for (const reason of ['a', 'max-age', 'my.reason_2', 'x'.repeat(64)]) {
      expect(
        codeOf(() => {
          checkReason(reason);
        }),
      ).to.equal(undefined);
    }
  });

  it('refuses everything else', () => {
    for (const reason of ['', 'x'.repeat(65), 'a b', 'a\n', 'é', 'a"b', 1, null, undefined, ['a']]) {
      expect(
        codeOf(() => {
          checkReason(reason);
        }),
      ).to.equal('INVALID_REASON');
    }
  });
});
