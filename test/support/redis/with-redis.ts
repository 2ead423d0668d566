import { spawnSync } from 'node:child_process';
import { RedisCluster } from './redis-cluster.js';
import { RedisServer } from './redis-server.js';

/** Filled before the tests of the suite run. */
export interface Started<T> {
  readonly redis: T;
}

/**
 * Starts one Redis for the tests of a `describe` and ends it after them. Without a `redis-server` on PATH the tests are
 * skipped, visibly, or fail when `REQUIRE_REDIS=1`.
 */
export function withRedis(args: readonly string[] = []): Started<RedisServer> {
  return started(() => RedisServer.start({ args }));
}

/** The same with a Redis Cluster. */
export function withRedisCluster(): Started<RedisCluster> {
  return started(() => RedisCluster.start());
}

function started<T extends { stop(): Promise<void> }>(start: () => Promise<T>): Started<T> {
  let starting: Promise<T> | undefined;
  let running: T | undefined;
  before(async function () {
    this.timeout(60_000);
    if (spawnSync('redis-server', ['--version']).status !== 0) {
      const how = 'no redis-server on PATH: install one (apt-get install redis-server)';
      if (process.env['REQUIRE_REDIS'] === '1') throw new Error(how);
      console.warn(`      skipped: ${how}`);
      this.skip();
    }
    starting = start();
    running = await starting;
  });
  after(async () => {
    // Also when `before` gave up on it.
    await (await starting?.catch(() => undefined))?.stop();
  });
  return {
    get redis() {
      if (running === undefined) throw new Error('Redis runs from before to after only');
      return running;
    },
  };
}
