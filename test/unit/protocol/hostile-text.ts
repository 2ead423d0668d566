import fc from 'fast-check';

/** Pieces that have broken an encoder or a parser somewhere. */
const PIECES = [
  '\r',
  '\n',
  '\r\n',
  '\n\n',
  '\0',
  '\u2028',
  '\u2029',
  '\u0085',
  '\ufeff',
  '\ud83d',
  '\ude00',
  '\u{1f600}',
  'é',
  ' ',
  ':',
  ': ',
  'data: ',
  'data',
  'id: 7\n',
  'event: x\n',
  'retry: 1\n',
  '\n: ',
  '',
];

/** Text made to break the framing of an event stream; may be ill-formed. */
export const hostileText: fc.Arbitrary<string> = fc.string({
  unit: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...PIECES) },
    { weight: 1, arbitrary: fc.nat(0xffff).map(code => String.fromCharCode(code)) },
  ),
  maxLength: 24,
});

/** Text that is hostile, yet allowed in an event name or id. */
export const hostileField: fc.Arbitrary<string> = hostileText.map(text => text.replace(/[\r\n\0]/g, '').toWellFormed());

/** What a client gets for a text: UTF-8 has no lone surrogates, and every line break becomes LF. */
export function received(text: string): string {
  return text.toWellFormed().replace(/\r\n|\r/g, '\n');
}
