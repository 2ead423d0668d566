import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { StartedTestContainer } from 'testcontainers';
import { Jaeger } from '../../examples/05-telemetry/jaeger.js';
import { clusterCoordinatorContract } from '../../src/testing/contracts/cluster-coordinator.js';
import { newTrace } from '../support/client-trace.js';
import { startContainer } from '../support/containers.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { JaegerReader } from '../support/jaeger.js';
import { freePort } from '../support/redis/free-port.js';
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

  // The images are those of `.ci/containers`, which names the files; Prometheus and Grafana are not among them, and Jaeger
  // only where its program is at hand.
  describe('examples/compose.yaml', () => {
    const run = promisify(execFile);
    const env: NodeJS.ProcessEnv = { ...process.env, COMPOSE_PROJECT_NAME: `sse-test-${process.pid}` };
    const { traceId, headers } = newTrace();
    let site = '';
    let jaeger: string | undefined;

    before(async function () {
      this.timeout(180_000);
      if (process.env['COMPOSE_FILE'] === undefined) {
        console.warn('      skipped: COMPOSE_FILE names no files; .ci/containers runs this test');
        this.skip();
      }
      const [nginxPort, jaegerPort] = [await freePort(), await freePort()];
      Object.assign(env, { NGINX_PORT: nginxPort, JAEGER_PORT: jaegerPort });
      site = `http://127.0.0.1:${nginxPort}`;
      if (process.env['JAEGER_IMAGE'] !== undefined) jaeger = `http://127.0.0.1:${jaegerPort}`;
      await compose('up', '--detach', '--no-build', 'nginx', ...(jaeger === undefined ? [] : ['jaeger']));
    });

    /** A plugin of the engine's client, or a program of its own. */
    async function compose(...argv: readonly string[]): Promise<void> {
      const hasPlugin = await run('docker', ['compose', 'version']).then(
        () => true,
        () => false,
      );
      await (hasPlugin ? run('docker', ['compose', ...argv], { env }) : run('docker-compose', argv, { env }));
    }

    it('has three nodes behind nginx, which reach the clients of each other', async () => {
      const counts = async (): Promise<object> => {
        const response = await fetch(`${site}/sse/connections`).catch(() => undefined);
        return response?.ok === true ? ((await response.json()) as { nodes: object }).nodes : {};
      };
      await until(async () => Object.keys(await counts()).length === 3, 'three nodes', 60_000);
      const client = await EventStreamClient.open(`${site}/sse/connect/me`);
      await client.event('connected');
      for (const body of ['a', 'b', 'c']) {
        const response = await fetch(`${site}/sse/send/me`, { method: 'POST', body, headers });
        expect(await response.json()).to.include({ outcome: 'delivered' });
      }
      await until(() => client.data('message').length === 3, 'three events');
      expect(client.data('message')).to.deep.equal(['a', 'b', 'c']);
      client.leave();
    }).timeout(120_000);

    it('has their trace in Jaeger', async function () {
      if (jaeger === undefined) {
        console.warn('      skipped: JAEGER_IMAGE names no image at hand; .ci/jaeger builds its program');
        return this.skip();
      }
      const reader = new JaegerReader({ query: jaeger });
      const serviceOf = async (span: string): Promise<ReadonlySet<string>> =>
        new Set((await reader.trace(traceId)).filter(({ name }) => name === span).map(({ service }) => service));
      // nginx may leave a node out for ten seconds that was not there at its first request.
      await until(async () => (await serviceOf('sse.send')).size > 1, 'sends of two nodes in Jaeger', 30_000);
      await until(async () => (await serviceOf('sse.deliver')).size === 1, 'deliveries of one node', 30_000);
    }).timeout(120_000);

    it('ends with nothing left', async () => {
      await compose('down', '--volumes');
      const filter = `label=com.docker.compose.project=${env['COMPOSE_PROJECT_NAME'] ?? ''}`;
      const { stdout } = await run('docker', ['ps', '--all', '--quiet', '--filter', filter]);
      expect(stdout).to.equal('');
    }).timeout(60_000);
  });
});
