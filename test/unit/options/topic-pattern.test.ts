import { expect } from 'chai';
import fc from 'fast-check';
import { topicPattern } from '../../../src/options/topic-history.js';

describe('topicPattern', () => {
  const cases: [pattern: string, topic: string, matches: boolean][] = [
    ['news', 'news', true],
    ['news', 'news2', false],
    ['news', 'anews', false],
    ['*', '', true],
    ['*', 'anything/at/all', true],
    ['news/*', 'news/', true],
    ['news/*', 'news/a/b', true],
    ['news/*', 'news', false],
    ['*/a', 'x/a', true],
    ['*/a', 'x/ab', false],
    ['a*b', 'ab', true],
    ['a*a', 'a', false],
    ['ab*ba', 'aba', false],
    ['ab*ba', 'abba', true],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['a*bc*c', 'abc', false],
    ['**', 'x', true],
    ['a**b', 'ab', true],
    ['.', 'x', false],
    ['a.c', 'abc', false],
    ['a.*', 'abc', false],
    ['(a+)+$', 'aaaa', false],
    ['(a+)+$', '(a+)+$', true],
    ['[a-z]*', 'q', false],
    ['[a-z]*', '[a-z]q', true],
    ['\\d', '5', false],
    ['a?', 'a', false],
    ['a|b', 'a', false],
    ['^a', 'a', false],
    ['line*end', 'line\nend', true],
  ];
  for (const [pattern, topic, matches] of cases) {
    const verb = matches ? 'takes' : 'refuses';
    it(`${JSON.stringify(pattern)} ${verb} ${JSON.stringify(topic)}`, () => {
      expect(topicPattern(pattern)(topic)).to.equal(matches);
    });
  }

  it('agrees with the plain recursive definition', () => {
    const reference = (pattern: string, topic: string): boolean => {
      if (pattern === '') return topic === '';
      if (pattern.startsWith('*')) {
        return reference(pattern.slice(1), topic) || (topic !== '' && reference(pattern, topic.slice(1)));
      }
      return topic.startsWith(pattern[0]!) && reference(pattern.slice(1), topic.slice(1));
    };
    const text = (alphabet: string[]) =>
      fc.array(fc.constantFrom(...alphabet), { maxLength: 8 }).map(parts => parts.join(''));
    fc.assert(
      fc.property(text(['a', 'b', '*']), text(['a', 'b']), (pattern, topic) => {
        expect(topicPattern(pattern)(topic)).to.equal(reference(pattern, topic));
      }),
      { numRuns: 2000 },
    );
  });

  it('takes no time for many stars', () => {
    const topic = 'a'.repeat(100_000);
    const matches = topicPattern('*a'.repeat(50_000) + 'b*');
    const started = performance.now();
    expect(matches(topic)).to.be.false;
    expect(performance.now() - started).to.be.below(1_000);
  });
});
