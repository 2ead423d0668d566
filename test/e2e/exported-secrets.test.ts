import { expect } from 'chai';
import { OtlpReceiver } from '../support/otlp-receiver.js';
import { withRedis } from '../support/redis/with-redis.js';
import { TracedApplication } from '../support/traced/traced-application.js';
import { until } from '../support/until.js';

const USER = 'secret-user';
const BODY = 'secret-words';
const LIBRARY = ['connect', 'send', 'route', 'deliver', 'publish', 'command', 'close'].map(name => `sse.${name}`);
// The last is a command of the application to Redis.
const APPLICATION = ['GET /sse/:clientId', 'POST /send/:connectionId', 'DELETE /users/:user', 'get'];

describe('two applications with the instrumentations of HTTP and ioredis, through their loader of ES modules', () => {
  const started = withRedis();
  let receiver: OtlpReceiver;
  let nodes: readonly TracedApplication[] = [];

  beforeEach(async () => {
    receiver = await OtlpReceiver.start();
  });

  afterEach(async () => {
    await Promise.all(nodes.map(node => node.stop()));
    await receiver.close();
  });

  /** Uses two nodes in every way that leaves a trace; resolves to all that they have exported at their end, by its kind. */
  async function exported(hideConnectionIds: boolean): Promise<ReadonlyMap<string, string>> {
    const variables = {
      ...receiver.environment,
      REDIS_URL: started.redis.url,
      OTEL_LOGS_EXPORTER: 'otlp',
      OTEL_BSP_SCHEDULE_DELAY: '100',
      SSE_TELEMETRY_HIDE_CONNECTION_IDS: String(hideConnectionIds),
    };
    const [a, b] = await Promise.all([
      TracedApplication.start('a', variables),
      TracedApplication.start('b', variables),
    ]);
    nodes = [a, b];
    // The second takes the id over, and the third again.
    const clients = [];
    for (const node of [b, a, b]) clients.push(await node.connect(USER, 'secret-tab'));
    const connection = encodeURIComponent(`${USER}/secret-tab`);
    expect(await a.ask('POST', `/send/${connection}?note=${BODY}`, BODY)).to.equal(200);
    await a.ask('POST', `/send/${encodeURIComponent(`${USER}/secret-away`)}?durable=true`, BODY);
    await a.ask('POST', '/topics/news', BODY);
    // Refused: an id that is too long, and an event name of the library.
    await a.ask('POST', `/send/${'secret'.repeat(50)}`, BODY);
    await a.ask('POST', `/send/${connection}?event=sse.reserved`, BODY);
    await a.ask('GET', '/own');
    await a.ask('DELETE', `/users/${USER}`);
    const names = (): readonly string[] => receiver.spans.map(({ name }) => name);
    await until(() => names().filter(name => name === 'sse.close').length === 3, 'the ends', 15_000);
    await Promise.all(nodes.map(node => node.stop()));
    for (const client of clients) client.leave();
    expect(names()).to.include.members([...LIBRARY, ...APPLICATION]);
    return receiver.bodies;
  }

  it('export no id, user, path, query or event in spans, metrics or logs where ids are hidden', async () => {
    const all = await exported(true);
    expect([...all.keys()].sort()).to.deep.equal(['/v1/logs', '/v1/metrics', '/v1/traces']);
    for (const [kind, text] of all) expect(text.match(/.{0,200}secret.{0,40}/)?.[0], kind).to.equal(undefined);
  });

  it('export ids, and still no event of the library, where they are not', async () => {
    const text = [...(await exported(false)).values()].join();
    expect(text).to.include(`${USER}/secret-tab`);
    expect(text.replaceAll(`note=${BODY}`, '')).to.not.include(BODY);
  });
});
