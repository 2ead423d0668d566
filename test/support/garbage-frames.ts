import fc from 'fast-check';

/**
 * What is no frame of ours, or looks like one: random bytes, other versions, broken JSON, keys that pollute; and, made of
 * genuine frames, of which there must be one, truncated ones and, where frames are signed, some with a byte changed.
 */
export function garbageFrames(genuine: readonly Buffer[], signed: boolean): fc.Arbitrary<Buffer> {
  const proto = '{"__proto__":{"polluted":true},"v":1,"t":"superseded","c":"c1","k":"t1","f":"9"}';
  const mutations: fc.Arbitrary<Buffer>[] = [
    fc.uint8Array({ maxLength: 200 }).map(bytes => Buffer.from(bytes)),
    fc
      .constantFrom(
        '',
        ' ',
        '- ',
        '-  ',
        't1 ',
        't1 m9',
        '- c9{"id":1}',
        '- c1{',
        '- c1{"__proto__":{}}',
        '- r1{"id":"x"}',
        '- a1',
        '{',
        '{}',
        '{"v":2}',
        'e1 1-1',
        'e1 1-1 0-0',
        'e1 x-1 0-0 \nx',
        '- \n',
      )
      .map(text => Buffer.from(text)),
    fc.string({ maxLength: 300, unit: 'binary' }).map(text => Buffer.from(`- ${text}`)),
    fc.string({ maxLength: 300 }).map(text => Buffer.from(`t1 m1${text}`)),
    fc.constant(Buffer.from(`- c1${proto}`)),
  ];
  const truncated = fc
    .tuple(fc.constantFrom(...genuine), fc.nat(400))
    .map(([frame, length]) => frame.subarray(0, Math.min(length, frame.length - 1)));
  const flipped = fc
    .tuple(fc.constantFrom(...genuine), fc.nat(), fc.integer({ min: 1, max: 255 }))
    .map(([frame, at, bits]) => {
      const copy = Buffer.from(frame);
      const index = at % copy.length;
      copy[index] = (copy[index] ?? 0) ^ bits;
      return copy;
    });
  return fc.oneof(truncated, ...mutations, ...(signed ? [flipped] : []));
}
