import { expect } from 'chai';
import type { Redis } from 'ioredis';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const KEPT = { maxEntries: 10, ttl: 60_000 };
/** What the applications publish, each `busy` run once. */
const PUBLICATIONS = 4;

/** One application: two nodes, and a connection `c1` of the first. */
class Application {
  readonly listener = new RecordingListener();
  readonly #nodes: RedisNodes;
  #a: RedisCoordinator | undefined;
  #b: RedisCoordinator | undefined;

  constructor(
    readonly name: string,
    redis: () => SseOptions['redis'],
  ) {
    this.#nodes = new RedisNodes(redis, { control: { secret: `the secret of ${name} and no other` } });
  }

  async start(): Promise<void> {
    this.#a = await this.#nodes.node('a');
    this.#b = await this.#nodes.node('b');
    this.listener.connections.set('c1', 't1');
    await this.#a.start(this.listener);
    await this.#b.start(new RecordingListener());
    await this.#a.routes.register({ connectionId: 'c1', token: 't1', onDuplicate: 'takeover' });
    await this.#a.log.subscribe(['news', '@c1']);
  }

  get dropped(): number {
    return this.#nodes.logger.at('warn').filter(({ fields }) => fields?.['dropped'] !== undefined).length;
  }

  /** Uses every kind of key and channel. */
  async busy(): Promise<void> {
    const [a, b] = [this.#a, this.#b];
    if (a === undefined || b === undefined) throw new Error('not started');
    const body = Buffer.from(`data: ${this.name}\n\n`);
    const message = { connectionId: 'c1', messageId: 'm1', frame: { bytes: body }, deadline: 3_000 } as const;
    expect(await b.messenger.send({ ...message, ack: 'owner' })).to.include({ outcome: 'delivered' });
    const publish = (topic: string | undefined, kept: boolean, idempotencyKey?: string) =>
      b.log.publish({ topic, body, retention: kept && KEPT, ...(idempotencyKey !== undefined && { idempotencyKey }) });
    await publish(undefined, true);
    await publish('news', true, 'k1');
    await publish('news', false, 'k1');
    await publish('@c1', true);
    await until(() => this.listener.publications.length >= PUBLICATIONS, 'the publications');
    await b.messenger.presence('news');
    await b.messenger.subscribe('c1', 'sport');
    await a.locks.acquireLock('run', 'me', 60_000);
    await a.routes.count();
    const check = { scope: 'node', maxRepairs: 10, settle: 1, sample: 10, notify: true } as const;
    expect((await a.selfCheck.reconcile(check)).unknown).to.equal(undefined);
    const second = { connectionId: 'c2', token: 't2', onDuplicate: 'takeover' } as const;
    await a.routes.register(second);
    await b.routes.register(second);
    await b.routes.unregister('c2', 't2');
  }

  dispose(): Promise<void> {
    return this.#nodes.dispose();
  }
}

describe('applications on one Redis', () => {
  const server = withRedis();
  const url = (database: number): string => `redis://127.0.0.1:${server.redis.port}/${database}`;
  const layouts = [
    { prefix: 'sse:', database: 0, channel: 'sse:events' },
    { prefix: 'sse:', database: 1, channel: 'sse:events' },
    { prefix: 'sse:1:', database: 0, channel: 'sse:events' },
    { prefix: 'sse:0:b:', database: 0, channel: 'sse:events' },
    { prefix: 'sse', database: 0, channel: '0:events' },
    { prefix: '', database: 1, channel: 'events' },
  ];
  const applications = (): Application[] =>
    layouts.map(
      ({ database, ...redis }) =>
        new Application(`${redis.prefix}|${database}|${redis.channel}`, () => ({ ...redis, url: url(database) })),
    );
  let running: Application[] = [];
  let watcher: Redis | undefined;
  afterEach(async () => {
    watcher?.disconnect();
    await Promise.all(running.splice(0).map(each => each.dispose()));
    await server.redis.admin.flushall();
  });

  it('get nothing of each other, whatever prefixes, databases and channels they have', async () => {
    running = applications();
    for (const each of running) await each.start();
    for (const each of running) await each.busy();
    for (const { name, listener, dropped } of running) {
      const texts = [...listener.publications, ...listener.messages].map(({ text }) => text);
      expect(
        texts.filter(text => !text.includes(name)),
        name,
      ).to.deep.equal([]);
      expect(listener.publications, name).to.have.length(PUBLICATIONS);
      expect(dropped, name).to.equal(0);
    }
  });

  it('name each key by prefix and each channel by prefix and database', async () => {
    const channels = new Set<string>();
    const keys = new Set<string>();
    const apart = new Map<string, string>();
    for (const [at, application] of applications().entries()) {
      running.push(application);
      const { prefix = '', database = 0 } = layouts[at] ?? {};
      const commands: string[][] = [];
      watcher = await server.redis.admin.monitor();
      watcher.on('monitor', (_time: string, args: string[]) => commands.push(args));
      await application.start();
      await application.busy();
      const own = new Set<string>();
      for (const [command = '', ...args] of commands) {
        if (/^s?(un)?subscribe$/i.test(command)) args.forEach(name => own.add(`channel ${name}`));
        if (/^s?publish$/i.test(command)) own.add(`channel ${args[0] ?? ''}`);
        if (/^eval/i.test(command)) args.slice(2, 2 + Number(args[1])).forEach(name => own.add(`key ${name}`));
      }
      watcher.disconnect();
      await application.dispose();
      for (const name of own) {
        if (name.startsWith('key ')) {
          expect(name.startsWith(`key ${prefix}{`), name).to.equal(true);
          keys.add(name);
          apart.set(`${database} ${name}`, `${apart.get(`${database} ${name}`) ?? ''}${application.name};`);
        } else {
          expect(name).to.match(new RegExp(`^channel ${prefix}${database}:[abnpt]:.`));
          channels.add(name.slice(`channel ${prefix}${database}:`.length, `channel ${prefix}${database}:a`.length));
          apart.set(name, `${apart.get(name) ?? ''}${application.name};`);
        }
      }
      await server.redis.admin.flushall();
    }
    expect([...channels].sort()).to.deep.equal(['a', 'b', 'n', 'p', 't']);
    expect(keys.size).to.be.greaterThan(layouts.length * 8);
    const shared = [...apart].filter(([, names]) => names.split(';').length > 2);
    expect(shared).to.deep.equal([]);
  });

  it('are refused with a prefix that ends with a digit, or a channel that could be the channel of another', async () => {
    for (const redis of [{ prefix: 'sse1' }, { channel: '0:b:events' }, { channel: 'x1:n:a' }]) {
      const nodes = new RedisNodes(() => ({ url: url(0), ...redis }));
      const refusal = await nodes.node('a').catch((error: unknown) => error);
      expect(refusal).to.include({ code: 'INVALID_OPTION' });
    }
  });
});
