import { expect } from 'chai';
import { LUA } from '../../../../src/cluster/redis/lua.js';
import { SCRIPTS } from '../../../../src/cluster/redis/scripts.js';
import { MUTATIONS } from '../../../integration/redis/mutation-list.js';
import { mutateLua } from '../../../support/mutate-lua.js';
import { LUA_FOLDER, textsIn } from '../../../support/redis/script-source.js';

const MOST_LINES = 60;

interface Header {
  readonly purpose: string;
  readonly keys: readonly string[];
  readonly restKeys: readonly string[];
  readonly args: readonly string[];
  readonly restArgs: readonly string[];
  readonly statuses: readonly string[];
  /** What a script that answers for each of several things says of one. */
  readonly results: readonly string[];
  readonly sections: readonly string[];
}

describe('the scripts in lua/', () => {
  it('each have a wrapper, and each wrapper has a script', () => {
    const files = Object.keys(LUA).filter(name => !name.startsWith('_'));
    expect(files.sort()).to.deep.equal(SCRIPTS.map(({ name }) => name).sort());
  });

  it('are in the built code as text; `npm run build` writes it', () => {
    expect(LUA).to.deep.equal(textsIn(LUA_FOLDER));
  });

  it('have each guard of the list of mutations once', () => {
    for (const { place, find, replace } of MUTATIONS) {
      const text = LUA[place] ?? '';
      expect(mutateLua(text, find, replace)).to.not.equal(text);
    }
  });

  for (const script of SCRIPTS) {
    describe(script.name, () => {
      const text = LUA[script.name] ?? '';
      const header = headerOf(text);

      it('begins with what it does, then KEYS, ARGV, RETURNS, NOTES', () => {
        expect(header.purpose).to.match(/^[A-Z].*[.:]$/);
        expect(header.sections).to.deep.equal(['KEYS', 'ARGV', 'RETURNS', 'NOTES']);
      });

      it('names the keys, arguments and statuses of its wrapper', () => {
        const { keys, restKeys, args, restArgs, statuses } = script;
        expect(header).to.deep.include({ keys, restKeys, args, restArgs });
        expect([...header.statuses].sort()).to.deep.equal([...statuses].sort());
      });

      it('gives each key and argument the name of the header', () => {
        const { locals, used } = localsOf(text);
        for (const [position, name] of header.keys.entries()) {
          expect(locals.get(name) ?? '', name).to.include(`KEYS[${position + 1}]`);
        }
        for (const [position, name] of header.args.entries()) {
          expect(locals.get(name) ?? '', name).to.include(`ARGV[${position + 1}]`);
        }
        expect(used.KEYS).to.equal(header.keys.length);
        expect(used.ARGV).to.equal(header.args.length);
      });

      it('answers with the statuses of the header and no others', () => {
        const code = codeOf(text).join('\n');
        const known = [...header.statuses, ...header.results];
        // The answers of these files are those of the script.
        const used = (call: string, file: string): string => (code.includes(call) ? (LUA[file] ?? '') : '');
        const shared = used('refusalOf(', '_counters') + used('decide(', '_owners');
        for (const status of known) expect(code + shared).to.include(`'${status}'`);
        const words = [...code.matchAll(/'([A-Z]{2,})'/g)].map(([, word = '']) => word);
        expect(words.filter(word => !known.includes(word) && !COMMANDS.has(word))).to.deep.equal([]);
      });

      it(`has at most ${MOST_LINES} lines of code`, () => {
        expect(codeOf(text).length).to.be.at.most(MOST_LINES);
      });

      it('takes no time but that of the prelude, and touches no key that it was not given', () => {
        const code = codeOf(text).join('\n');
        expect(code).to.not.match(/'(TIME|KEYS|SCAN|RANDOMKEY|EVAL\w*)'/);
        const calls = [...code.matchAll(/redis\.p?call\('(\w+)',\s*([^,)]+)/g)];
        const keys = new Set([
          ...header.keys,
          'key',
          'unpack(KEYS',
          'KEYS[2 * t]',
          'KEYS[2 * t + 1]',
          'KEYS[1 + t]',
          "'STREAM'",
        ]);
        expect(calls.map(([, , key = '']) => key).filter(key => !keys.has(key))).to.deep.equal([]);
      });
    });
  }
});

const COMMANDS: ReadonlySet<string> = new Set(
  (
    'OOM GET SET HGET HSET HMGET HSETNX HINCRBY HDEL HLEN HEXISTS HGETALL HSCAN EXISTS PEXPIRE ZADD ZREM ZCOUNT ZCARD ' +
    'ZMSCORE ZRANGEBYSCORE ZRANDMEMBER HRANDFIELD WITHVALUES LIMIT COUNT PX NX XADD MGET XTRIM XRANGE XREVRANGE XLEN XINFO DUMP RESTORE REPLACE STREAM MAXLEN MINID NOMKSTREAM'
  ).split(' '),
);

function headerOf(text: string): Header {
  const lines = text.split('\n');
  const end = lines.findIndex(line => !line.startsWith('--'));
  const header = lines.slice(0, end).map(line => line.replace(/^-- ?/, ''));
  const returns = header.slice(header.indexOf('RETURNS') + 1, header.indexOf('NOTES'));
  const rest = (kind: string) =>
    header.flatMap(line => {
      const names = new RegExp(`^${kind}(?:\\[\\d+\\])? +\\.\\.\\. +([a-z][\\w ]*?),`).exec(line)?.[1];
      return names === undefined ? [] : names.replace(/^.* of /, '').split(' ');
    });
  const named = (kind: string) =>
    header.flatMap(line => {
      const [, position, name] = new RegExp(`^${kind}\\[(\\d+)\\] +(\\w+) `).exec(line) ?? [];
      return position === undefined || name === undefined ? [] : [{ position, name }];
    });
  const inOrder = (kind: string) => {
    const found = named(kind);
    expect(found.map(({ position }) => Number(position))).to.deep.equal(found.map((_, i) => i + 1));
    return found.map(({ name }) => name);
  };
  return {
    purpose: header[0] ?? '',
    keys: inOrder('KEYS'),
    restKeys: rest('KEYS'),
    args: inOrder('ARGV'),
    restArgs: rest('ARGV'),
    statuses: returns.flatMap(line => /^ {2}([A-Z]+)\b/.exec(line)?.[1] ?? []),
    results: returns.flatMap(line => /^ {4}([A-Z]+) {2}/.exec(line)?.[1] ?? []),
    sections: [...new Set(header.flatMap(line => /^(KEYS|ARGV|RETURNS|NOTES)\b/.exec(line)?.[1] ?? []))],
  };
}

function codeOf(text: string): string[] {
  return text.split('\n').filter(line => line.trim() !== '' && !line.trimStart().startsWith('--'));
}

/** `local a, b = KEYS[1], tonumber(KEYS[2])` as name -> value, and the highest fixed positions used. */
function localsOf(text: string) {
  const locals = new Map<string, string>();
  const highest = { KEYS: 0, ARGV: 0 };
  for (const line of codeOf(text)) {
    for (const [, kind, position] of line.matchAll(/(KEYS|ARGV)\[(\d+)\]/g)) {
      const which = kind as keyof typeof highest;
      highest[which] = Math.max(highest[which], Number(position));
    }
    const [, names, values] = /^local ([\w, ]+) = (.*)$/.exec(line) ?? [];
    if (names === undefined || values === undefined) continue;
    const parts = splitTopLevel(values);
    names.split(', ').forEach((name, at) => locals.set(name, parts[at] ?? ''));
  }
  return { locals, used: highest };
}

function splitTopLevel(values: string): string[] {
  const parts: string[] = [''];
  let depth = 0;
  for (const character of values) {
    if (character === '(') depth += 1;
    if (character === ')') depth -= 1;
    if (character === ',' && depth === 0) parts.push('');
    else parts.push((parts.pop() ?? '') + character);
  }
  return parts;
}
