import { expect } from 'chai';
import { listSettings, resolveOptions } from '../../../src/options/sse-options.js';
import { refusal } from './refusal.js';

/** Settings that are objects themselves. */
const WHOLE = new Set(['history.topics', 'telemetry.eventNames']);

const MS = 'must be a whole number of milliseconds from 1 to 2147483647';

describe('settings', () => {
  it('has exactly the settings of the resolved options', () => {
    const leaves = (value: unknown, path: string): string[] =>
      typeof value === 'object' && value !== null && !WHOLE.has(path)
        ? Object.entries(value).flatMap(([key, child]) => leaves(child, path === '' ? key : `${path}.${key}`))
        : [path];
    const settings = leaves(resolveOptions(), '').filter(
      // Computed from the retry settings of other groups.
      path => !/^resilience\.\w+\.(retries|retryPause)$/.test(path),
    );
    expect(settings).to.have.members(listSettings().map(({ path }) => path));
  });

  describe('refuses wrong types', () => {
    const cases: [string, unknown, string][] = [
      ['text for a number', { connection: { timeout: '5' } }, `connection.timeout ${MS}, got "5"`],
      ['null', { connection: { timeout: null } }, `connection.timeout ${MS}, got null`],
      ['NaN', { connection: { timeout: NaN } }, `connection.timeout ${MS}, got NaN`],
      ['Infinity', { connection: { timeout: Infinity } }, `connection.timeout ${MS}, got Infinity`],
      ['a bigint', { connection: { timeout: 5n } }, `connection.timeout ${MS}, got 5`],
      ['an array for a number', { node: { lease: [1] } }, `node.lease ${MS}, got an array`],
      [
        'true where only false means something',
        { connection: { heartbeat: true } },
        `connection.heartbeat ${MS}, or false, got true`,
      ],
      ['text for a flag', { cleanup: { enabled: 'true' } }, 'cleanup.enabled must be true or false, got "true"'],
      [
        'an unknown word',
        { connection: { onDuplicate: 'keep' } },
        `connection.onDuplicate must be one of 'takeover', 'reject', got "keep"`,
      ],
      ['a number for a group', { node: 5 }, 'node must be an object of settings, got 5'],
      ['null for a group', { node: null }, 'node must be an object of settings, got null'],
      ['an array for a group', { node: [] }, 'node must be an object of settings, got an array'],
      ['null for everything', null, 'the options must be an object of settings, got null'],
      ['an array for everything', [], 'the options must be an object of settings, got an array'],
      [
        'text for the topics',
        { history: { topics: 'news' } },
        'history.topics must be an object that maps topic patterns to false or ' + '{ maxEntries, ttl }, got "news"',
      ],
      [
        'true for a topic',
        { history: { topics: { 'news/*': true } } },
        'history.topics["news/*"] must be false or { maxEntries, ttl }, got true',
      ],
      [
        'a wrong value inside a topic',
        { history: { topics: { news: { ttl: '9' } } } },
        `history.topics.news.ttl ${MS}, got "9"`,
      ],
      [
        'text for a client',
        { redis: { client: 5 } },
        'redis.client must be a Redis client, an object, got a number (not shown)',
      ],
      [
        'a function for the class',
        { redis: { class: () => undefined } },
        'redis.class must be the class Redis of ioredis, got a function',
      ],
    ];
    for (const [name, input, message] of cases) {
      it(name, () => expect(refusal(input)).to.equal(message));
    }
  });

  describe('refuses what is out of range', () => {
    const cases: [string, unknown, string][] = [
      ['0 ms', { connection: { timeout: 0 } }, `connection.timeout ${MS}, got 0`],
      ['a fraction', { connection: { timeout: 1.5 } }, `connection.timeout ${MS}, got 1.5`],
      ['more than a timer can wait', { cleanup: { interval: 2147483648 } }, `cleanup.interval ${MS}, got 2147483648`],
      ['0 for a switchable interval', { connection: { heartbeat: 0 } }, `connection.heartbeat ${MS}, or false, got 0`],
      [
        'no connection at all',
        { connection: { maxConnections: 0 } },
        'connection.maxConnections must be a whole number >= 1, got 0',
      ],
      ['a negative count', { script: { retryCount: -1 } }, 'script.retryCount must be a whole number >= 0, got -1'],
      ['a pause of no time', { script: { retryInterval: 0 } }, `script.retryInterval ${MS}, got 0`],
      [
        'no call at once',
        { resilience: { publish: { concurrency: 0 } } },
        'resilience.publish.concurrency must be a whole number >= 1, got 0',
      ],
      ['0 bytes', { limits: { maxEventBytes: 0 } }, 'limits.maxEventBytes must be a whole number of bytes >= 1, got 0'],
      ['17 partitions', { redis: { partitions: 17 } }, 'redis.partitions must be a whole number from 1 to 16, got 17'],
      [
        '1000001 entries',
        { history: { maxEntries: 1000001 } },
        'history.maxEntries must be a whole number from 1 to 1000000, got 1000001',
      ],
      [
        '0 entries of a topic',
        { history: { topics: { a: { maxEntries: 0 } } } },
        'history.topics.a.maxEntries must be a whole number from 1 to 1000000, got 0',
      ],
      [
        'a deadline over ten minutes',
        { send: { deadline: 600001 } },
        'send.deadline must be a whole number of milliseconds from 1 to 600000, got 600001',
      ],
      [
        'a space in a node id',
        { node: { id: 'a b' } },
        'node.id must be 1 to 80 characters of A-Z a-z 0-9 _ . -, got "a b"',
      ],
      [
        'a brace in the prefix',
        { redis: { prefix: 'a{b}' } },
        'redis.prefix must be at most 128 characters without { or }, the last of them no digit, got "a{b}"',
      ],
      [
        'a prefix that ends with a digit',
        { redis: { prefix: 'app1' } },
        'redis.prefix must be at most 128 characters without { or }, the last of them no digit, got "app1"',
      ],
      [
        'an empty channel',
        { redis: { channel: '' } },
        'redis.channel must be 1 to 256 characters without a digit, colon, letter, colon in a row, got ""',
      ],
      [
        'a channel that could be one of another application',
        { redis: { channel: '0:b:events' } },
        'redis.channel must be 1 to 256 characters without a digit, colon, letter, colon in a row, got "0:b:events"',
      ],
    ];
    for (const [name, input, message] of cases) {
      it(name, () => expect(refusal(input)).to.equal(message));
    }

    it('a node id of 81 characters', () => {
      expect(refusal({ node: { id: 'a'.repeat(81) } })).to.match(/^node\.id must be 1 to 80 /);
      expect(resolveOptions({ node: { id: 'a'.repeat(80) } }).node.id).to.have.lengthOf(80);
    });

    it('a line break at the end of a node id', () => {
      expect(refusal({ node: { id: 'a\n' } })).to.match(/got "a\\n"$/);
    });

    it('an origin that no browser would send, in a list of origins', () => {
      for (const wrong of [
        'https://a.example/',
        'HTTPS://a.example',
        'https://a.example:443',
        'a.example',
        'null',
        '*',
        5,
      ]) {
        expect(refusal({ limits: { crossSite: ['https://b.example', wrong as string] } })).to.match(
          /^limits\.crossSite must be one of 'refuse', 'allow', or a list of 1 to 100 origins such as /,
        );
      }
      expect(refusal({ limits: { crossSite: [] } })).to.match(/^limits\.crossSite must be /);
    });

    it('an empty topic pattern, one with control characters, one of 257 bytes', () => {
      const rule = 'each key of history.topics must be 1 to 256 bytes of text without control';
      for (const pattern of ['', 'a\nb', 'é'.repeat(128) + 'a']) {
        expect(refusal({ history: { topics: { [pattern]: false } } })).to.include(rule);
      }
    });
  });

  it('takes the limits themselves', () => {
    resolveOptions({
      connection: { timeout: 1, heartbeat: false, maxAge: 2147483647 },
      redis: { partitions: 16, prefix: '' },
      history: { maxEntries: 1000000, topics: { '*': { maxEntries: 1 } } },
      send: { deadline: 600000 },
      limits: { maxTopicsPerConnection: 0 },
      reconnect: { jitter: 0 },
      control: { secret: 'x'.repeat(16) },
    });
  });

  it('shortens long values to 100 characters', () => {
    const message = refusal({ node: { id: '!'.repeat(5000) } });
    expect(message.slice(message.indexOf('got ') + 4)).to.have.lengthOf(100);
  });

  it('never calls into a hostile value', () => {
    const hostile = {
      toJSON: () => expect.fail('called'),
      toString: () => expect.fail('called'),
      [Symbol.toPrimitive]: () => expect.fail('called'),
    };
    expect(refusal({ node: { id: hostile } })).to.match(/got an object$/);
  });
});
