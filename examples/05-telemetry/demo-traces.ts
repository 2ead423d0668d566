import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { context, propagation, trace } from '@opentelemetry/api';
import { DemoNode, DemoRedis, freePort, type Program } from '../02-cluster/processes.js';
import { Jaeger } from './jaeger.js';
import { printTrace, traceAddress, waitForTrace } from './print-trace.js';
import { startTelemetry } from './start-telemetry.js';

/**
 * Two nodes of the demo, a Redis and a Jaeger, by one command; a few messages; and the addresses of three traces worth
 * looking at. `REDIS_URL` and `JAEGER_URL` name servers that are there already. Ctrl-C ends it.
 */
const folder = mkdtempSync(join(tmpdir(), 'sse-traces-'));
/** In the order in which they end: the nodes first, so that they can leave the cluster. */
const programs: { readonly nodes: Program[]; readonly servers: Program[] } = { nodes: [], servers: [] };

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => void stop(0));
process.once('exit', () => {
  for (const program of [...programs.nodes, ...programs.servers]) program.abandon();
});
try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  await stop(1);
}

async function main(): Promise<void> {
  const jaeger = await Jaeger.start();
  if (typeof jaeger === 'string') throw new Error(jaeger);
  programs.servers.push(jaeger);
  // Each node and the client under a name of its own: Jaeger's page shows nothing else of a process at first sight.
  Object.assign(process.env, {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${jaeger.otlp}/v1/traces`,
    OTEL_BSP_SCHEDULE_DELAY: '200',
    OTEL_SERVICE_NAME: 'client',
  });
  const stopTelemetry = startTelemetry('client');
  const redisUrl = process.env['REDIS_URL'] ?? (await startRedis());
  const [a, b] = await Promise.all([startNode('node-a', redisUrl), startNode('node-b', redisUrl)]);

  const stream = await connect(`${b}/sse/connect/me?topics=news`);
  await connect(`${a}/sse/connect/other?topics=news`);
  const send = await inSpan('a send', () => post(`${a}/sse/send/me?event=hello`, 'POST'));
  const publication = await inSpan('a publication', () => post(`${a}/sse/topics/news?event=headline`, 'POST'));
  await inSpan('a close', () => post(`${a}/sse/connections/me`, 'DELETE'));
  await stream.closed;
  await stopTelemetry();

  const close = { service: 'node-b', tags: { 'sse.connection.id': 'me', 'sse.close.reason': 'closed' } };
  const wanted = [
    ['a send from node-a to a client of node-b', { id: send }, 'sse.deliver'],
    ['a publication, delivered once on each node', { id: publication }, 'sse.deliver'],
    ['the end of a stream on node-b, linked to the request on node-a that closed it', close, 'sse.close'],
  ] as const;
  console.log('\nthree traces worth looking at');
  for (const [what, which, span] of wanted) {
    const found = await waitForTrace(jaeger, which, span);
    console.log(`\n${what}\n  ${await traceAddress(jaeger, found.traceID)}`);
    printTrace(found);
  }
  console.log('\nthe nodes go on; Ctrl-C ends them');
}

/** Does something within a span of the client, the root of a trace; resolves to the id of the trace. */
function inSpan(name: string, work: () => Promise<unknown>): Promise<string> {
  return trace.getTracer('demo').startActiveSpan(name, async span => {
    await work();
    span.end();
    return span.spanContext().traceId;
  });
}

async function post(url: string, method: string): Promise<void> {
  const headers: Record<string, string> = {};
  propagation.inject(context.active(), headers);
  const response = await fetch(url, { method, headers, ...(method === 'POST' && { body: 'hi' }) });
  if (!response.ok) throw new Error(`${method} ${url} answered ${response.status}`);
  await response.arrayBuffer();
}

/** A stream that is read and not looked at. */
async function connect(url: string): Promise<{ readonly closed: Promise<void> }> {
  const response = await fetch(url);
  const reader = response.body?.getReader();
  await reader?.read();
  const drained = async (): Promise<void> => {
    for (let done = reader === undefined; !done;) done = (await reader?.read())?.done ?? true;
  };
  // A node that ends takes its streams along.
  return { closed: drained().catch(() => undefined) };
}

async function startRedis(): Promise<string> {
  const redis = await DemoRedis.start(folder);
  programs.servers.push(redis);
  return redis.url;
}

/** Resolves to the address of a new node. */
async function startNode(id: string, redisUrl: string): Promise<string> {
  const node = new DemoNode(id, await freePort(), redisUrl, { OTEL_SERVICE_NAME: id });
  programs.nodes.push(node);
  await node.start();
  return `http://127.0.0.1:${node.port}`;
}

async function stop(code: number): Promise<void> {
  for (const group of [programs.nodes, programs.servers]) await Promise.all(group.map(program => program.stop()));
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}
