import { spawnSync } from 'node:child_process';
import { RedisCluster } from './redis-cluster.js';
import { REDIS_SERVER, RedisServer } from './redis-server.js';

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

/** Of the server; `undefined` where there is none. */
const version = /v=([\d.]+)/.exec(String(spawnSync(REDIS_SERVER, ['--version']).stdout))?.[1];

/** What the suites of this process have started, by its arguments. */
const shared = new Map<string, Promise<Shared>>();

after(async () => {
  for (const starting of shared.values()) await (await starting.catch(() => undefined))?.stop();
});

/**
 * Gives the tests of a `describe` a Redis that is as new. The suites of a process that ask for the same arguments share one
 * server, one suite after the other. Without a server (`REDIS_SERVER`, by default `redis-server` on PATH) the tests are
 * skipped, visibly, or fail when `REQUIRE_REDIS=1`.
 */
export function withRedis(args: readonly string[] = []): Started<RedisServer> {
  return started(`server ${args.join(' ')}`, () => RedisServer.start({ args }));
}

/** The same with a Redis Cluster. The tests are skipped, visibly, with a Redis that is too old for the library there. */
export function withRedisCluster(): Started<RedisCluster> {
  before(function () {
    needsVersion(this, 7, 'a Redis Cluster has sharded Pub/Sub');
  });
  return started('cluster', () => RedisCluster.start());
}

/** Skips the tests of a `describe`, visibly, when the server has no TLS, as in packages of other languages. */
export function needsTls(context: Mocha.Context): void {
  // A server that has TLS asks for a certificate.
  const { stdout } = spawnSync(REDIS_SERVER, ['--port', '0', '--tls-port', '1'], { timeout: 5_000 });
  if (!stdout.includes('tls-cert-file')) skip(context, 'the server was built without TLS');
}

/** Skips a test or the tests of a `describe`, visibly, when the server is older. @param what from this version on */
export function needsVersion(context: Mocha.Context, major: number, what: string): void {
  if (version !== undefined && parseInt(version) < major) skip(context, `${what} from ${major}.0 on`);
}

function skip(context: Mocha.Context, why: string): never {
  console.warn(`      skipped: ${why}`);
  return context.skip();
}

function started<T extends Shared>(name: string, start: () => Promise<T>): Started<T> {
  let running: T | undefined;
  before(async function () {
    this.timeout(60_000);
    if (version === undefined) {
      const how = `no ${REDIS_SERVER} on PATH: install one (apt-get install redis-server)`;
      if (process.env['REQUIRE_REDIS'] === '1') throw new Error(how);
      skip(this, how);
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
