import fc from 'fast-check';
import type { Cluster, Redis } from 'ioredis';
import { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import { amount } from '../../support/extent.js';
import { gatewayOptions } from '../../support/redis/gateway-options.js';
import { modelCommands } from '../../support/redis/model-commands.js';
import type { Model, Real } from '../../support/redis/model-steps.js';
import { PartitionModel } from '../../support/redis/partition-model.js';
import { plainWithClock } from '../../support/redis/plain-with-clock.js';
import { ScriptBench } from '../../support/redis/script-bench.js';
import { scriptSource } from '../../support/redis/script-source.js';
import { withRedis, withRedisCluster } from '../../support/redis/with-redis.js';

// For a long run, as in MODEL_RUNS=4000.
const ASKED = process.env['MODEL_RUNS'];
const RUNS = Number(ASKED ?? amount(60, 300));
const FEWER_RUNS = ASKED === undefined ? RUNS / 4 : RUNS;

describe('scripts of the registry, against a model', function () {
  this.timeout(Math.max(240_000, RUNS * 100));

  describe('on a single Redis', () => {
    const server = withRedis();
    it(`answer like the model in ${RUNS} random runs`, async () => {
      const options = gatewayOptions({ url: server.redis.url }, { source: scriptSource('fake') });
      await compare(new RedisGateway(options), server.redis.admin, 1, RUNS);
    });

    it(`so do plain commands, when no other node comes in between, in ${FEWER_RUNS} random runs`, async () => {
      const more = { source: scriptSource('fake'), plain: plainWithClock() };
      const options = gatewayOptions({ url: server.redis.url }, more);
      await compare(new RedisGateway(options), server.redis.admin, 1, FEWER_RUNS);
    });
  });

  describe('on a Redis Cluster', () => {
    const cluster = withRedisCluster();
    it(`answer like the model in ${FEWER_RUNS} random runs, in three partitions on three masters`, async () => {
      const client = cluster.redis.admin;
      const options = gatewayOptions({ client }, { source: scriptSource('fake') });
      await compare(new RedisGateway(options), client, 3, FEWER_RUNS);
    });
  });
});

async function compare(
  gateway: RedisGateway,
  admin: Redis | Cluster,
  partitions: number,
  numRuns: number,
): Promise<void> {
  await gateway.open();
  let commands = 0;
  try {
    const property = fc.asyncProperty(modelCommands(partitions), async sequence => {
      const bench = new ScriptBench(gateway, admin, partitions);
      const setup = async (): Promise<{ model: Model; real: Real }> => {
        await bench.advance();
        const nodes = [0, 1, 2].map(n => bench.node(`n${n}~0`));
        const models = Array.from({ length: partitions }, () => new PartitionModel());
        return {
          model: { partitions: models },
          real: { bench, nodes, tokens: new Map(), fencingTokens: new Map(), tokenCount: 0 },
        };
      };
      const steps = [...sequence];
      commands += steps.length;
      try {
        await fc.asyncModelRun(setup, steps);
      } finally {
        await bench.clean();
      }
    });
    await fc.assert(property, { numRuns });
    console.log(`        ${commands} commands`);
  } finally {
    await gateway.close();
  }
}
