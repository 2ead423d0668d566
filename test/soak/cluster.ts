/**
 * Four nodes in processes of their own, thousands of clients that come, go, are taken over and are sent to at random; then
 * the books are checked. `node dist/test/soak/cluster.js [seconds] [clients]`, 120 and 2,000 by default. Exits with 1 when
 * they do not balance.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { DemoProcess } from '../support/demo-process.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { until } from '../support/until.js';
import { RedisWatch } from './redis-watch.js';
import { Stream } from './stream.js';

const [seconds = 120, clients = 2_000] = process.argv.slice(2).map(Number);
const NODES = ['a', 'b', 'c', 'd'];
const AT_ONCE = 24;
// What looks at every key of the database; the pages of one hash are another matter.
const FORBIDDEN = ['KEYS', 'SCAN', 'FLUSHALL', 'FLUSHDB'];

interface Sent {
  readonly connectionId: string;
  readonly data: string;
  readonly startedAt: number;
  readonly outcome: string;
  readonly nodeId: string;
}

const redis = await RedisServer.start();
// So that the slow log shows the time of scripts, and not delays by other work of the machine.
const preferred = redis.prefer();
const watch = await RedisWatch.start(redis, 2_000);
const nodes = await Promise.all(
  NODES.map(NODE_ID => DemoProcess.start({ NODE_ID, REDIS_URL: redis.url, SSE_CONNECTION_MAX_CONNECTIONS: '5000' })),
);

/** Every stream of every id, oldest first. */
const streams = new Map<string, Stream[]>();
const sent: Sent[] = [];
const outcomes = new Map<string, number>();
const actions = new Map<string, number>();
let number = 0;

const pick = <T>(from: readonly T[]): T => {
  const one = from[Math.floor(Math.random() * from.length)];
  if (one === undefined) throw new Error('nothing to pick from');
  return one;
};
const note = (map: Map<string, number>, key: string): void => {
  map.set(key, (map.get(key) ?? 0) + 1);
};
const anyId = (): string => `client-${Math.floor(Math.random() * clients)}`;
const latest = (id: string): Stream | undefined => streams.get(id)?.findLast(({ open }) => open);

async function connect(id: string): Promise<void> {
  note(actions, latest(id) === undefined ? 'connect' : 'takeover');
  const stream = await Stream.open(pick(nodes).url, id);
  if (stream === undefined) {
    note(actions, 'refused');
    return;
  }
  streams.set(id, [...(streams.get(id) ?? []), stream]);
}

function leave(id: string): void {
  const stream = latest(id);
  if (stream === undefined) return;
  note(actions, 'leave');
  stream.leave();
}

async function send(connectionId: string): Promise<void> {
  number += 1;
  const data = `n${number}`;
  const startedAt = performance.now();
  const response = await fetch(`${pick(nodes).url}/sse/send/${connectionId}?event=note`, {
    method: 'POST',
    headers: { 'Content-Type': 'text/plain' },
    body: data,
  });
  const body = (await response.json()) as Record<string, unknown>;
  const receipt = (body['receipt'] ?? body) as { outcome: string; nodeId?: string };
  note(outcomes, receipt.outcome);
  sent.push({
    connectionId,
    data,
    startedAt,
    outcome: receipt.outcome,
    nodeId: receipt.nodeId ?? '',
  });
}

async function act(): Promise<void> {
  const id = anyId();
  const dice = Math.random();
  if (dice < 0.6) await send(id);
  else if (dice < 0.8) await connect(id);
  else if (dice < 0.9) leave(id);
  else {
    // A takeover races with a send and with the end of the former connection.
    await Promise.all([connect(id), send(id), delay(Math.random() * 5).then(() => leave(id))]);
  }
}

async function worker(until: number): Promise<void> {
  while (performance.now() < until) await act();
}

const failures: string[] = [];
const check = (holds: boolean, what: string): void => {
  if (!holds) failures.push(what);
};

async function checkOwners(): Promise<void> {
  for (const [id, all] of streams) {
    const open = all.filter(stream => stream.open);
    check(open.length <= 1, `${id} has ${open.length} open streams`);
    const response = await fetch(`${pick(nodes).url}/sse/connections/${id}`);
    const [owner] = open;
    if (owner === undefined) {
      check(response.status === 404, `${id} has a route and no stream`);
      continue;
    }
    const { nodeId } = (await response.json()) as { nodeId?: string };
    check(nodeId === owner.nodeId, `${id} is on ${String(owner.nodeId)}, routed to ${String(nodeId)}`);
  }
}

function checkDeliveries(): { checked: number; excused: number } {
  let checked = 0;
  let excused = 0;
  const received = new Map<string, number>();
  for (const all of streams.values()) {
    for (const data of all.flatMap(({ notes }) => notes)) received.set(data, (received.get(data) ?? 0) + 1);
  }
  for (const [data, count] of received) check(count === 1, `${data} came ${count} times`);
  for (const { connectionId, data, outcome, startedAt } of sent) {
    if (outcome === 'not-connected') check(!received.has(data), `${data} came although its id was not connected`);
    if (outcome !== 'delivered' && outcome !== 'buffered') continue;
    checked += 1;
    if (received.has(data)) continue;
    // A socket that its client has closed meanwhile still takes bytes for a moment.
    const left = streams
      .get(connectionId)
      ?.some(({ leftAt }) => leftAt > startedAt - 1_000 && leftAt < startedAt + 1_000);
    if (left === true) excused += 1;
    else check(false, `${data} for ${connectionId} is ${outcome} and did not come`);
  }
  return { checked, excused };
}

const began = performance.now();
await Promise.all(Array.from({ length: AT_ONCE }, () => worker(began + seconds * 1_000)));
const ran = (performance.now() - began) / 1_000;

const openStreams = (): number => [...streams.values()].flat().filter(stream => stream.open).length;
let counted: unknown;
await until(async () => {
  const response = await fetch(`${pick(nodes).url}/sse/connections`);
  ({ cluster: counted } = (await response.json()) as { cluster: number });
  return counted === openStreams();
}, 'the count to be that of the open streams').catch(() =>
  check(false, `count ${String(counted)}, open streams ${openStreams()}`),
);
await checkOwners();
const { checked, excused } = checkDeliveries();
const immortal = await watch.immortal();
check(immortal.length === 0, `keys without an end: ${immortal.join(' ')}`);
for (const command of FORBIDDEN) {
  check((watch.commands.get(command) ?? 0) === (command === 'KEYS' ? 1 : 0), `${command} was called`);
}
for (const { program, nodeId } of nodes) {
  check(!/unhandled|uncaught/i.test(program.output), `${nodeId} says: ${program.output.slice(-500)}`);
}
const slow = await watch.slow();

console.log(
  `${ran.toFixed(0)} s, ${clients} ids, ${[...streams.values()].flat().length} streams, ${openStreams()} open at the end`,
);
console.log('actions', Object.fromEntries(actions));
console.log('receipts', Object.fromEntries(outcomes));
console.log(`${checked} delivered or buffered receipts checked, ${excused} of clients that were leaving`);
console.log('redis', Object.fromEntries([...watch.commands].sort((a, b) => b[1] - a[1]).slice(0, 12)));
console.log(
  `slower than 2 ms in Redis${preferred ? ', which ran before all else' : ''}: ${slow.length}`,
  slow.slice(0, 5),
);
console.log('scripts', await watch.scripts(), 'microseconds');
console.log(failures.length === 0 ? 'the books balance' : `${failures.length} failures`);
for (const failure of failures.slice(0, 20)) console.log(`  ${failure}`);

watch.stop();
for (const all of streams.values()) for (const stream of all) stream.leave();
await Promise.all(nodes.map(node => node.stop('SIGKILL')));
await redis.stop();
process.exitCode = failures.length === 0 ? 0 : 1;
