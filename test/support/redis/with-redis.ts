import { spawnSync } from 'node:child_process';
import { RedisCluster } from './redis-cluster.js';
import { RedisServer } from './redis-server.js';

/** Filled before the tests of the suite run. */
export interface Started<T> {
  readonly redis: T;
}

interface Shared {
  /** Whether all its processes run. */
  readonly runs: boolean;
  reset(): Promise<void>;
  stop(): Promise<void>;
}

/** What the suites of this process have started, by its arguments. */
const shared = new Map<string, Promise<Shared>>();

after(async () => {
  for (const starting of shared.values()) await (await starting.catch(() => undefined))?.stop();
});

/**
 * Gives the tests of a `describe` a Redis that is as new. The suites of a process that ask for the same arguments share one
 * server, one suite after the other. Without a `redis-server` on PATH the tests are skipped, visibly, or fail when
 * `REQUIRE_REDIS=1`.
 */
export function withRedis(args: readonly string[] = []): Started<RedisServer> {
  return started(`server ${args.join(' ')}`, () => RedisServer.start({ args }));
}

/** The same with a Redis Cluster. */
export function withRedisCluster(): Started<RedisCluster> {
  return started('cluster', () => RedisCluster.start());
}

function started<T extends Shared>(name: string, start: () => Promise<T>): Started<T> {
  let running: T | undefined;
  before(async function () {
    this.timeout(60_000);
    if (!hasRedis()) {
      const how = 'no redis-server on PATH: install one (apt-get install redis-server)';
      if (process.env['REQUIRE_REDIS'] === '1') throw new Error(how);
      console.warn(`      skipped: ${how}`);
      this.skip();
    }
    // The name says what it is.
    const former = (await shared.get(name)) as T | undefined;
    const starting = former?.runs === true ? Promise.resolve(former) : start();
    shared.set(name, starting);
    // A suite may have ended it.
    if (former?.runs === false) await former.stop();
    running = await starting;
    await running.reset();
  });
  return {
    get redis() {
      if (running === undefined) throw new Error('Redis runs from before on');
      return running;
    },
  };
}

let found: boolean | undefined;

function hasRedis(): boolean {
  found ??= spawnSync('redis-server', ['--version']).status === 0;
  return found;
}
