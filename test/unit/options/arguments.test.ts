import { expect } from 'chai';
import { MemoryBus } from '../../../src/cluster/memory/bus.js';
import type { SseService } from '../../../src/contracts/service.js';
import { SseError } from '../../../src/errors.js';
import { FakeSink } from '../../support/fake-sink.js';
import { TestNode } from '../../support/test-node.js';

type Call = (sse: SseService, options: never) => unknown;

const LONGEST = 2 ** 31 - 1;

const calls = {
  createConnection: (sse, options) => sse.createConnection('other', new FakeSink(), options),
  sendMessage: (sse, options) => sse.sendMessage('a', 'note', 1, options),
  sendMessageToConnection: (sse, options) => sse.sendMessageToConnection('a', 'note', 1, options),
  broadcast: (sse, options) => sse.broadcast('note', 1, options),
  broadcastToCluster: (sse, options) => sse.broadcastToCluster('note', 1, options),
  publish: (sse, options) => sse.publish('news', 'note', 1, options),
  closeAllConnections: (sse, options) => sse.closeAllConnections('closed', options),
  drain: (sse, options) => sse.drain(options),
} satisfies Record<string, Call>;

/** What each method refuses: the option, the values, the rule. Numbers stand just outside of their range. */
const refused: readonly [method: keyof typeof calls, option: string, values: readonly unknown[], rule: string][] = [
  ['drain', 'timeout', [0, -1, 0.5, NaN, Infinity, LONGEST + 1, '5', null], `milliseconds from 1 to ${LONGEST}`],
  ['sendMessageToConnection', 'deadline', [0, -1, 0.5, NaN, Infinity, 600_001, '5'], 'milliseconds from 1 to 600000'],
  ['sendMessageToConnection', 'ack', ['all', 1, true], "one of 'owner', 'none'"],
  ['sendMessageToConnection', 'durable', [1, 'yes', null], 'true or false'],
  ['sendMessage', 'deadline', [NaN], 'milliseconds'],
  ['publish', 'history', [true, 0, 'no'], 'false, or undefined'],
  ['broadcastToCluster', 'history', [true], 'false, or undefined'],
  ['createConnection', 'topics', ['news', { 0: 'news' }, 5], 'a list of topics'],
  ['createConnection', 'lastEventId', [5, ['a'], null], 'text'],
  ['createConnection', 'backlog', [0, 1_001, 1.5, NaN, '5', 'all', true, null], "from 1 to 1000, or 'latest'"],
  ['createConnection', 'onDuplicate', ['keep', true], "one of 'takeover', 'reject'"],
  ['createConnection', 'onReset', ['snapshot', {}], 'a function'],
  ['createConnection', 'source', ['key', { key: 'a' }, null], 'an object { key, start }'],
  ['closeAllConnections', 'cluster', ['yes', 1], 'true or false'],
];

describe('arguments of methods', () => {
  let node: TestNode;

  before(async () => {
    node = new TestNode('node', new MemoryBus());
    await node.service.createConnection('a', new FakeSink());
  });
  after(() => node.service.close());

  const refusalOf = async (method: keyof typeof calls, options: unknown): Promise<SseError> => {
    try {
      // As a JavaScript caller may write it.
      await calls[method](node.service, options as never);
    } catch (error) {
      if (SseError.is(error)) return error;
      throw error;
    }
    throw new Error(`${method} took ${String(options)}`);
  };

  for (const [method, option, values, rule] of refused) {
    it(`of ${method} are refused: a wrong ${option}`, async () => {
      for (const value of values) {
        const { code, message } = await refusalOf(method, { [option]: value });
        expect(code).to.equal('INVALID_OPTION');
        expect(message).to.include(`${option} of ${method} must be `).and.to.include(rule);
      }
    });
  }

  for (const method of Object.keys(calls) as (keyof typeof calls)[]) {
    it(`of ${method} are refused: an unknown name, and what is no object`, async () => {
      for (const name of ['unknown', 'toString', '__proto__x']) {
        expect((await refusalOf(method, { [name]: 1 })).message).to.include(
          `${method} has no option "${name}"; it has: `,
        );
      }
      for (const value of [null, 5, 'text']) expect((await refusalOf(method, value)).code).to.equal('INVALID_OPTION');
    });
  }

  it('of events keep their own codes', async () => {
    for (const retry of [-1, NaN, Infinity, LONGEST + 1, '5']) {
      for (const method of [
        'sendMessage',
        'sendMessageToConnection',
        'broadcast',
        'broadcastToCluster',
        'publish',
      ] as const) {
        expect((await refusalOf(method, { retry })).code).to.equal('INVALID_RETRY');
      }
    }
    expect((await refusalOf('sendMessage', { messageId: '' })).code).to.equal('INVALID_EVENT_ID');
    expect((await refusalOf('publish', { idempotencyKey: 'x'.repeat(129) })).code).to.equal('INVALID_EVENT_ID');
    expect((await refusalOf('createConnection', { topics: ['*'] })).code).to.equal('INVALID_TOPIC');
  });

  it('are taken at both ends of their range, and as undefined', async () => {
    const { service } = node;
    for (const deadline of [1, 600_000, undefined]) {
      const options = { deadline } as { deadline: number };
      expect(await service.sendMessageToConnection('a', 'note', 1, options)).to.include({ outcome: 'delivered' });
    }
    for (const retry of [0, LONGEST]) expect(service.broadcast('note', 1, { retry }).delivered).to.equal(1);
    for (const timeout of [1, LONGEST]) {
      const leaving = new TestNode('leaving', new MemoryBus());
      await leaving.service.drain({ timeout });
      expect(leaving.service.health().live).to.equal(false);
    }
  });
});
