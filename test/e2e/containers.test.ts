import { expect } from 'chai';
import type { StartedTestContainer } from 'testcontainers';
import { Jaeger } from '../../examples/05-telemetry/jaeger.js';
import { clusterCoordinatorContract } from '../../src/testing/contracts/cluster-coordinator.js';
import { startContainer } from '../support/containers.js';
import { JaegerReader } from '../support/jaeger.js';
import { RedisNodes } from '../support/redis/redis-nodes.js';
import { MOCHA } from '../support/runner.js';
import { until } from '../support/until.js';

const { REDIS_IMAGE = 'redis:8-alpine', JAEGER_IMAGE = 'jaegertracing/jaeger:2.11.0' } = process.env;

/** Filled before the tests of a `describe`, which are skipped, visibly, where there is no container. */
function withContainer(wanted: Parameters<typeof startContainer>[0]): { port(at: number): number } {
  let container: StartedTestContainer | undefined;
  before(async function () {
    this.timeout(120_000);
    const started = await startContainer(wanted);
    if (typeof started === 'string') {
      if (process.env['REQUIRE_CONTAINERS'] === '1') throw new Error(started);
      console.warn(`      skipped: ${started}`);
      this.skip();
    }
    container = started;
  });
  after(() => container?.stop());
  return { port: at => container?.getMappedPort(at) ?? 0 };
}

describe('in containers', () => {
  describe('Redis', () => {
    const redis = withContainer({
      image: REDIS_IMAGE,
      ports: [6379],
      command: ['redis-server', '--save', '', '--protected-mode', 'no'],
      ready: /Ready to accept connections/,
    });
    const nodes = new RedisNodes(() => ({ url: `redis://127.0.0.1:${redis.port(6379)}` }));
    clusterCoordinatorContract(MOCHA, 'RedisCoordinator', nodes, { only: 'core' });
  });

  describe('Jaeger', () => {
    const container = withContainer({ image: JAEGER_IMAGE, ports: [4318, 16686], ready: /Starting HTTP server|ready/ });

    it('keeps a span that it was sent', async () => {
      const jaeger = await Jaeger.start({
        JAEGER_URL: `http://127.0.0.1:${container.port(16686)}`,
        JAEGER_OTLP_URL: `http://127.0.0.1:${container.port(4318)}`,
      });
      if (typeof jaeger === 'string') throw new Error(jaeger);
      const traceId = 'a'.repeat(32);
      const now = `${Date.now()}000000`;
      const span = { traceId, spanId: 'b'.repeat(16), name: 'sse.send', startTimeUnixNano: now, endTimeUnixNano: now };
      const body = JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] });
      const headers = { 'content-type': 'application/json' };
      const sent = await fetch(`${jaeger.otlp}/v1/traces`, { method: 'POST', headers, body });
      expect(sent.status).to.equal(200);
      const reader = new JaegerReader(jaeger);
      await until(async () => (await reader.trace(traceId))[0]?.name === 'sse.send', 'the span');
    });
  });
});
