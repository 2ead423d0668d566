import { expect } from 'chai';
import { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import type { Partition } from '../../../src/cluster/redis/keys.js';
import { countScript, reapScript, resolveScript, expireScript } from '../../../src/cluster/redis/scripts.js';
import type { BenchNode } from './bench-node.js';
import { gatewayOptions } from './gateway-options.js';
import type { RedisServer } from './redis-server.js';
import { ScriptBench } from './script-bench.js';
import { scriptSource } from './script-source.js';
import { withRedis } from './with-redis.js';

/** One partition with a clock that stands, for one test. */
export interface Registry {
  readonly bench: ScriptBench;
  /** Two nodes with leases. */
  readonly a: BenchNode;
  readonly b: BenchNode;
}

/**
 * Gives each test of a `describe` a fresh registry, and checks after each that the index names the same connections as
 * the routes and that nothing is left behind.
 */
export function withRegistry() {
  const server = withRedis();
  let gateway: RedisGateway | undefined;
  let current: Registry | undefined;

  before(async () => {
    const options = gatewayOptions({ url: server.redis.url }, { source: scriptSource('fake') });
    gateway = new RedisGateway(options);
    await gateway.open();
  });
  after(() => gateway?.close());

  beforeEach(async () => {
    const bench = new ScriptBench(running(), server.redis.admin);
    await bench.advance();
    current = { bench, a: bench.node('a~1'), b: bench.node('b~1') };
    await current.a.lease();
    await current.b.lease();
  });
  afterEach(async () => {
    if (current === undefined) return;
    const state = await current.bench.state();
    await current.bench.clean();
    expect(Object.keys(state.index).sort()).to.deep.equal(Object.keys(state.routes).sort());
    expect(await server.redis.admin.dbsize()).to.equal(0);
  });

  const running = (): RedisGateway => {
    if (gateway === undefined) throw new Error('the gateway runs from before to after only');
    return gateway;
  };
  const registry = (): Registry => {
    if (current === undefined) throw new Error('there is a registry in tests only');
    return current;
  };
  const partition = (): Partition => registry().bench.partition(0);
  return {
    registry,
    partition,
    gateway: running,
    admin: (): RedisServer['admin'] => server.redis.admin,
    reap: (limit = 500, self?: string, overBy = Number.MAX_SAFE_INTEGER) =>
      running().run(reapScript, { partition: partition(), limit, overBy, self }),
    expire: (count = 500) => running().run(expireScript, { partition: partition(), count }),
    send: (conn: string, payload = Buffer.from('x'), more: Partial<Parameters<BenchNode['send']>[0]> = {}) =>
      registry().a.send({ conn, payload, ...more }),
    /** With the token of the connection that the owner gets. */
    sendRecorded: (conn: string) => registry().a.sendRecorded({ conn, payload: Buffer.from('x') }),
    count: (graceMs = 0) => running().run(countScript, { partition: partition(), graceMs }),
    resolve: (...conns: string[]) => {
      const epoch = registry().a.believed()?.epoch ?? '';
      return running().run(resolveScript, { partition: partition(), epoch, conns });
    },
  };
}
