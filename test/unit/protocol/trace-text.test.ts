import { expect } from 'chai';
import { carriedTrace, MAX_TRACE_CHARACTERS } from '../../../src/protocol/names.js';

describe('carriedTrace', () => {
  it('passes printable ASCII on, from space to tilde', () => {
    for (const text of [' ', '~', '00-abc-01 vendor=x;y="z"', 't'.repeat(MAX_TRACE_CHARACTERS)]) {
      expect(carriedTrace(text)).to.equal(text);
    }
  });

  it('drops everything else', () => {
    const tooLong = 't'.repeat(MAX_TRACE_CHARACTERS + 1);
    for (const text of [undefined, '', tooLong, 'a\r', 'a\n', '\n', '\t', '\x7f', 'é', '😀']) {
      expect(carriedTrace(text)).to.equal(undefined);
    }
  });
});
