/**
 * Revokes every user of four nodes in processes of their own, of which one hangs (SIGSTOP) and one is cut off from Redis:
 * `node dist/test/soak/revocation.js [streams] [users]`, 10,000 and 1,000 by default. Prints figures. Exits with 1 when a
 * stream of a healthy node stays, when no answer names the hanging node, or when a stream stays after both nodes are back.
 */
import { ChildProgram } from '../support/child-program.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { TcpProxy } from '../support/redis/tcp-proxy.js';
import { until } from '../support/until.js';
import type { NodeCount, RevocationQuestion, RevokedUsers } from './revocation-node.js';
import { RawStreams } from './raw-streams.js';

const [streams = 10_000, users = 1_000] = process.argv.slice(2).map(Number);
const NODES = ['a', 'b', 'hangs', 'cut'] as const;
const LONGEST_MS = 60_000;

type Node = { readonly name: string; readonly program: ChildProgram; readonly streams: RawStreams };

const redis = await RedisServer.start();
const proxy = await TcpProxy.to(redis.port);
const nodes: Node[] = await Promise.all(
  NODES.map(async name => {
    const port = name === 'cut' ? proxy.port : redis.port;
    const program = ChildProgram.start('test/soak/revocation-node.js', {
      NODE_ID: name,
      REDIS_URL: `redis://127.0.0.1:${port}`,
    });
    const [, own = ''] = await program.printed(/^listening on (\d+)$/m);
    return { name, program, streams: new RawStreams(Number(own)) };
  }),
);
const ask = <T>({ program }: Node, question: RevocationQuestion): Promise<T> => program.ask<T>(question);
const open = (names: readonly string[]): number =>
  nodes.filter(({ name }) => names.includes(name)).reduce((sum, { streams }) => sum + streams.open, 0);
const since = (begun: number): number => Math.round(performance.now() - begun);

try {
  const connecting = performance.now();
  for (let n = 0; n < streams; n += 100) {
    const some = Array.from({ length: Math.min(100, streams - n) }, (_, index) => n + index);
    await Promise.all(
      some.map(async k => nodes[k % nodes.length]?.streams.connect(`/u${Math.floor(k / 4) % users}/${k}`)),
    );
  }
  const connectMs = since(connecting);
  const [caller, , hanging] = nodes;
  if (caller === undefined || hanging === undefined) throw new Error('four nodes were started');
  hanging.program.process.kill('SIGSTOP');
  proxy.cut();

  const revoking = performance.now();
  const answering = ask<RevokedUsers>(caller, { ask: 'revoke', users });
  await until(() => open(['a', 'b']) === 0, 'the end on healthy nodes', LONGEST_MS);
  const healthyMs = since(revoking);
  const { closed, missing, unavailable } = await answering;
  const answeredMs = since(revoking);
  const away = open(['hangs', 'cut']);

  const returning = performance.now();
  hanging.program.process.kill('SIGCONT');
  proxy.heal();
  await until(() => open(NODES) === 0, 'the end on nodes that are back', LONGEST_MS);
  const returnedMs = since(returning);
  const left = await Promise.all(nodes.map(node => ask<NodeCount>(node, { ask: 'count' })));
  const stored = left.reduce((sum, { connections }) => sum + connections, 0);
  console.log({
    streams,
    users,
    connectMs,
    closed,
    missing,
    unavailable,
    healthyMs,
    answeredMs,
    away,
    returnedMs,
    stored,
  });
  const right = missing.includes('hangs') && unavailable === 0 && stored === 0 && closed === streams - away;
  console.log(right ? 'all closed, or named as missing and closed on return' : 'WRONG');
  process.exitCode = right ? 0 : 1;
} finally {
  for (const { program, streams: own } of nodes) {
    program.process.kill('SIGCONT');
    own.leave();
  }
  await Promise.all(nodes.map(({ program }) => program.stop('SIGKILL')));
  await proxy.close();
  await redis.stop();
}
