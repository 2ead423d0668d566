/**
 * Draws traces of two nodes as Jaeger has them. `node dist/test/support/traced/pictures.js` makes the traces, keeps them in
 * `docs/images/traces.json` and draws them beside it. It needs a Jaeger as the test of traces does, and `redis-server`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { Jaeger } from '../../../examples/05-telemetry/jaeger.js';
import { newTrace } from '../client-trace.js';
import { JaegerReader, type JaegerSpan } from '../jaeger.js';
import { RedisServer } from '../redis/redis-server.js';
import { until } from '../until.js';
import { TracedApplication } from './traced-application.js';
import { type Picture, rowsOf, waterfall } from './waterfall.js';

export const IMAGES = fileURLToPath(new URL('../../../../docs/images/', import.meta.url));
const TRACES = `${IMAGES}traces.json`;

/** The pictures by the names of their files, from the traces that were made last. */
export function tracePictures(): ReadonlyMap<string, string> {
  const all = JSON.parse(readFileSync(TRACES, 'utf8')) as readonly Picture[];
  return new Map(all.map(picture => [`${picture.name}.svg`, waterfall(picture)]));
}

async function makeTraces(reader: JaegerReader, a: TracedApplication, b: TracedApplication): Promise<Picture[]> {
  const spansOf = async (traceId: string, name: string, count: number): Promise<JaegerSpan[]> => {
    let spans: JaegerSpan[] = [];
    const complete = async (): Promise<boolean> => {
      spans = await reader.trace(traceId);
      return (
        spans.filter(span => span.name === name).length === count && spans.some(span => span.parent === span.parentId)
      );
    };
    await until(complete, name, 15_000);
    return spans;
  };
  for (const [node, id] of [
    [a, 'phone'],
    [b, 'laptop'],
    [b, 'tablet'],
  ] as const)
    await node.connect('ann', id);
  const [send, publication, revocation] = [newTrace(), newTrace(), newTrace()];
  // What comes first is not compiled yet.
  for (let n = 0; n < 50; n += 1) {
    await a.ask('POST', '/send/ann%2Flaptop');
    await a.ask('POST', '/topics/news');
  }
  await a.ask('POST', '/send/ann%2Flaptop', 'hi', send.headers);
  await a.ask('POST', '/topics/news', 'hi', publication.headers);
  await a.ask('DELETE', '/users/ann', 'hi', revocation.headers);
  let closes: string[] = [];
  const closed = async (): Promise<boolean> => {
    const found = await Promise.all(
      ['node-a', 'node-b'].map(node => reader.search(node, { 'sse.close.reason': 'revoked' })),
    );
    closes = [...new Set(found.flat())];
    return closes.length === 3;
  };
  await until(closed, 'the ends', 15_000);
  const ends = await Promise.all(closes.map(id => reader.trace(id)));
  const request = await spansOf(revocation.traceId, 'sse.command', 1);
  return [
    {
      name: 'trace-of-a-send',
      title: 'A send on node-a to a client of node-b',
      rows: rowsOf([await spansOf(send.traceId, 'sse.deliver', 1)]),
    },
    {
      name: 'trace-of-a-publication',
      title: 'A publication: one delivery per node, however many clients it has',
      rows: rowsOf([await spansOf(publication.traceId, 'sse.deliver', 2)]),
    },
    {
      name: 'trace-of-a-revocation',
      title: 'A revocation: each stream that it ends is a trace of its own, linked to its cause',
      rows: rowsOf([request, ...ends.sort(([one], [other]) => (one?.start ?? 0) - (other?.start ?? 0))]),
    },
  ];
}

async function main(): Promise<void> {
  const jaeger = await Jaeger.start();
  if (typeof jaeger === 'string') throw new Error(jaeger);
  const redis = await RedisServer.start();
  const variables = {
    REDIS_URL: redis.url,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${jaeger.otlp}/v1/traces`,
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
    OTEL_BSP_SCHEDULE_DELAY: '100',
  };
  const [a, b] = [
    await TracedApplication.start('node-a', variables),
    await TracedApplication.start('node-b', variables),
  ];
  try {
    const text = JSON.stringify(await makeTraces(new JaegerReader(jaeger), a, b));
    const options = (await resolveConfig(TRACES)) ?? {};
    writeFileSync(TRACES, await format(text, { ...options, parser: 'json' }));
  } finally {
    await Promise.all([a.stop(), b.stop()]);
    await Promise.all([redis.stop(), jaeger.stop()]);
  }
  for (const [name, svg] of tracePictures()) writeFileSync(IMAGES + name, svg);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main();
  process.exit();
}
