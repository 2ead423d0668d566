import { expect } from 'chai';
import { Container } from 'inversify';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { sseModule } from '../../../src/container.js';
import { SseService } from '../../../src/contracts/service.js';
import { listSettings, resolveOptions, type SseOptions } from '../../../src/options/sse-options.js';
import { FakeSink } from '../../support/fake-sink.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { refusal } from './refusal.js';

const LONGEST = 2 ** 31 - 1;

/** The range that the rule of a setting says; `undefined` when its values are no numbers. */
function rangeOf(rule: string): [least: number, most: number] | undefined {
  const [, least, most = String(Number.MAX_SAFE_INTEGER)] =
    /^a whole number\b.*? (?:from |>= )(\d+)(?: to (\d+))?(?:, or false)?$/.exec(rule) ?? [];
  return least === undefined ? undefined : [Number(least), Number(most)];
}

/** Settings that must change together, since one contradicts the default of another. */
const COMPANIONS: Readonly<Record<string, (value: number) => Record<string, number>>> = {
  'sendBuffer.maxBytes': value => ({ 'sendBuffer.maxTotalBytes': Math.max(value, 2 ** 28) }),
  'sendBuffer.maxTotalBytes': value => ({
    'sendBuffer.maxBytes': Math.min(value, 2 ** 20),
    'limits.maxEventBytes': Math.min(value, 2 ** 20),
  }),
  'limits.maxEventBytes': value => ({ 'sendBuffer.maxTotalBytes': Math.max(value, 2 ** 28) }),
  // A lease of 1 would have to be longer than the shortest heartbeat.
  'node.lease': value => ({ 'node.lease': Math.max(value, 2), 'node.heartbeat': 1 }),
  'node.heartbeat': value => ({ 'node.heartbeat': Math.min(value, LONGEST - 1), 'node.lease': LONGEST }),
};

function optionsOf(path: string, value: number, companions = COMPANIONS): SseOptions {
  const options: Record<string, Record<string, unknown>> = {};
  for (const [each, set] of Object.entries({ [path]: value, ...companions[path]?.(value) })) {
    const [group = '', key = '', inner] = each.split('.');
    const values = (options[group] ??= {});
    if (inner === undefined) values[key] = set;
    else values[key] = { [inner]: set };
  }
  return options;
}

const ranges = listSettings().flatMap(({ path, setting }) => {
  const range = rangeOf(setting.kind.rule);
  return range === undefined ? [] : [{ path, range }];
});

describe('the ends of the range of each setting', () => {
  let clock: SinonFakeTimers;
  let waits: number[];

  // Records what the timers of Node are asked for.
  beforeEach(() => {
    clock = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
    waits = [];
    const { setTimeout: original } = globalThis;
    globalThis.setTimeout = ((callback: () => void, ms: number) => {
      waits.push(ms);
      return original(callback, ms);
    }) as typeof setTimeout;
  });
  afterEach(() => clock.restore());

  it('are those of more than fifty settings', () => expect(ranges.length).to.be.greaterThan(50));

  for (const { path, range } of ranges) {
    const [least, most] = range;

    it(`of ${path}, ${least} and ${most}, are taken, and no more`, () => {
      for (const value of range) resolveOptions(optionsOf(path, value));
      for (const value of [least - 1, most + 1]) {
        expect(refusal(optionsOf(path, value, {}))).to.match(new RegExp(`^${path} must be `, 'm'));
      }
    });

    it(`of ${path} serve a client, and make no timer that fires at once`, async () => {
      for (const value of range) {
        const container = new Container();
        container.load(sseModule(optionsOf(path, value), { logger: new RecordingLogger(), environment: false }));
        const sse = container.get(SseService);
        await sse.createConnection('a', new FakeSink(), {
          topics: path === 'limits.maxTopicsPerConnection' ? [] : ['t'],
        });
        expect(sse.sendMessage('a', 'note', 'x').outcome).to.equal('delivered');
        expect(await sse.publish('t', 'note', 'x')).to.include({ outcome: 'stored' });
        await container.get(SseService).close();
        expect(waits.filter(ms => !(ms >= 0 && ms <= LONGEST))).to.deep.equal([]);
      }
    });
  }
});
