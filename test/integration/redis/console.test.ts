import { expect } from 'chai';
import { sseConsole, type ConnectionsAnswer, type NodesAnswer } from '../../../src/console/index.js';
import { ClusterCoordinator } from '../../../src/contracts/cluster.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { randomPrefix } from '../../support/redis/gateway-options.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

describe('the console of nodes on Redis', () => {
  const server = withRedis();
  const apps: KoaApp[] = [];
  const clients: EventStreamClient[] = [];
  const prefix = randomPrefix();

  before(async () => {
    apps.push(await start('a'), await start('b'));
    await Promise.all(apps.map(({ service }) => service.start()));
  });

  after(async () => {
    for (const client of clients) client.leave();
    await Promise.all(apps.map(app => app.close()));
  });

  /** Frames are signed, as those of careful users are. */
  function start(id: string): Promise<KoaApp> {
    return KoaApp.start({
      options: {
        node: { id, heartbeat: 100 },
        redis: { url: server.redis.url, prefix, channel: `${prefix}events` },
        control: { secret: 'a secret of the console test' },
      },
      mounted: container => sseConsole(container, { guard: false }),
      after: [
        async (ctx, next) => {
          if (!ctx.path.startsWith('/sse/')) {
            await next();
            return;
          }
          await ctx.sse.connect(ctx.path.slice('/sse/'.length), { topics: ['news'] });
        },
      ],
    });
  }

  async function open(app: KoaApp | undefined, path: string): Promise<EventStreamClient> {
    const client = await EventStreamClient.open((app?.url ?? '') + path, { headers: { accept: 'text/event-stream' } });
    clients.push(client);
    return client;
  }

  /** Resolves once an event of that name has matched. */
  async function seen(
    stream: EventStreamClient,
    name: string,
    matches: (data: NodesAnswer & ConnectionsAnswer) => boolean,
  ) {
    // Each test reads the fields of the answer that the name says.
    const parsed = (text: string) => JSON.parse(text) as NodesAnswer & ConnectionsAnswer;
    await until(() => stream.data(name).some(text => matches(parsed(text))), `an event ${name}`);
  }

  it('shows every node from any node, and drains one, which has left then', async () => {
    const [a, b] = apps;
    await (await open(a, '/sse/ann')).event('connected');
    await (await open(b, '/sse/bob')).event('connected');
    const [fromA, fromB] = [await open(a, '/console/api/live'), await open(b, '/console/api/live')];
    const rows = await open(b, '/console/api/connections?every=500');
    for (const stream of [fromA, fromB]) {
      await seen(
        stream,
        'tick',
        ({ nodes }) =>
          nodes.length === 2 && nodes.every(({ kind, connections }) => kind === 'reading' && connections === 1),
      );
    }
    await seen(rows, 'connections', ({ total, missing }) => total === 2 && missing.length === 0);
    await a?.service.publish('news', 'page', 1);
    const delivered = ({ traffic }: Pick<NodesAnswer, 'traffic'>): boolean => traffic?.deliveries.delivered === 2;
    await seen(fromB, 'tick', delivered);
    const probes = a?.container.get(ClusterCoordinator).selfCheck?.leakProbes() ?? [];
    expect(probes).to.not.deep.equal([]);
    await until(() => probes.every(probe => probe.suspects().length === 0), 'no suspect of a leak');
    const drain = await EventStreamClient.open(`${b?.url ?? ''}/console/api/drain`, {
      method: 'POST',
      headers: { 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' },
      body: '{"nodeId":"a"}',
    });
    expect(await drain.json()).to.deep.equal({ outcome: 'delivered' });
    expect(await fromA.closeReason()).to.equal('shutdown');
    await until(() => fromB.data('happenings').some(text => text.includes('"kind":"drain"')), 'the drain of node a');
    await seen(fromB, 'tick', ({ nodes }) => nodes.map(({ nodeId }) => nodeId).join() === 'b');
  }).timeout(60_000);
});
