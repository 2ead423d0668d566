import type { Scenario } from './scenario.js';
import { ask, errorText } from './server.js';

const killNode: Scenario = {
  id: 'kill',
  title: 'A node is killed',
  lead: 'Processes die without a word. The streams of a killed node break, and their clients come back to another node. They resume there, since every node reads the same log.',
  needs: 'a cluster',
  clients: ['Client of node b', 'Client of node a'],
  steps: [
    'One client connects to node b and one to node a. Three entries are published.',
    'Node b is killed with SIGKILL. It can say goodbye to nobody.',
    'Three more entries are published on node a.',
    'The client of node b comes back to another node.',
    'It has every entry once and in order. Node b is started again.',
  ],
  lesson: 'A node holds a lease. Its routes are fenced, so that a node that was only silent cannot take a client back.',
  code: `sseModule({
  redis: { url: process.env.REDIS_URL },
});
// The application stays as it was.`,
  async run(stage) {
    const [victim, witness] = [stage.client('Client of node b'), stage.client('Client of node a')];
    const topic = `tour/kill/${stage.visitor}-${Date.now()}`;
    await stage.step(async () => {
      victim.open(`/sse/connect/${stage.visitor}-b?node=b&topics=${encodeURIComponent(topic)}`);
      witness.open(`/sse/connect/${stage.visitor}-a?node=a&topics=${encodeURIComponent(topic)}`);
      await Promise.all([victim.state('open'), witness.state('open')]);
      await stage.publish(topic, 1, '&node=a');
      await Promise.all([victim.event('entry', 2), witness.event('entry', 2)]);
      return 'both have entries 1 to 3';
    });
    await stage.step(async () => {
      stage.atEnd(() => void ask('POST', '/tour/cluster/nodes/b/start'));
      await stage.ask('POST', '/tour/cluster/nodes/b/kill');
      await victim.state('waiting');
      return { text: 'the stream broke without a last event', tone: 'bad' };
    });
    await stage.step(async () => {
      await stage.publish(topic, 4, '&node=a');
      await witness.event('entry', 5);
      return 'the client of node a has entries 4 to 6';
    });
    await stage.step(async () => {
      const state = await victim.state('open');
      return `open on node ${state.kind === 'open' ? (state.nodeId ?? '') : ''}`;
    });
    await stage.step(async () => {
      await victim.event('entry', 5);
      await stage.ask('POST', '/tour/cluster/nodes/b/start');
      return `${victim.count('entry')} entries, ${victim.count('sse.reset')} gaps`;
    });
  },
};

const redisAway: Scenario = {
  id: 'redis',
  title: 'Redis goes away and comes back',
  lead: 'Nodes meet in Redis, and Redis can be restarted. Streams stay open meanwhile, and each node serves its own clients. What cannot be done is refused, and never guessed.',
  needs: 'a cluster with its own Redis',
  clients: ['Client of node a', 'Client of node b'],
  steps: [
    'One client connects to node a and one to node b.',
    'Redis is stopped. Node a says that it is not ready for new clients.',
    'Node a broadcasts. Its own client gets the event.',
    'Node a sends to the client of node b.',
    'Redis is started. The nodes join again, and nobody had to reconnect.',
    'A broadcast reaches both clients.',
  ],
  lesson:
    'Local delivery never waits for Redis. A send that another node would have to deliver is unavailable: certainly not sent.',
  code: `const receipt =
  await sse.broadcastToCluster('note', data);
// true while the cluster cannot be reached:
receipt.degraded;`,
  async run(stage) {
    const [a, b] = [stage.client('Client of node a'), stage.client('Client of node b')];
    await stage.step(async () => {
      a.open(`/sse/connect/${stage.visitor}-a?node=a`);
      b.open(`/sse/connect/${stage.visitor}-b?node=b`);
      await Promise.all([a.state('open'), b.state('open')]);
      return 'both are open';
    });
    await stage.step(async () => {
      stage.atEnd(() => void ask('POST', '/tour/cluster/redis/start'));
      await stage.ask('POST', '/tour/cluster/redis/stop');
      await until(stage.signal, async () => (await ask('GET', '/health/ready?node=a')).status === 503);
      return { text: '/health/ready: 503, and /health/live: 200', tone: 'warn' };
    });
    await stage.step(async () => {
      const { body } = await stage.ask('POST', '/sse/broadcast?event=note&node=a', 'local only');
      await a.event('note');
      return { text: `202, degraded: ${body['degraded'] === true ? 'true' : 'false'}`, tone: 'warn' };
    });
    await stage.step(async () => {
      const answer = await ask('POST', `/sse/send/${stage.visitor}-b?event=note&node=a`, 'to the other node');
      return { text: `${errorText(answer)}: certainly not sent`, tone: 'bad' };
    });
    await stage.step(async () => {
      await stage.ask('POST', '/tour/cluster/redis/start');
      for (const node of ['a', 'b']) {
        await until(stage.signal, async () => (await ask('GET', `/health/ready?node=${node}`)).ok);
      }
      return `both are ready; node a had ${a.count('connected')} connection of its client`;
    });
    await stage.step(async () => {
      const before = [a.count('note'), b.count('note')];
      await stage.ask('POST', '/sse/broadcast?event=note&node=a', 'to everyone');
      await Promise.all([a.event('note', before[0]), b.event('note', before[1])]);
      return 'both have it';
    });
  },
};

/** Scenarios that need the cluster of `npm run demo:cluster`. */
export const CLUSTER_SCENARIOS: readonly Scenario[] = [killNode, redisAway];

async function until(signal: AbortSignal, holds: () => Promise<boolean>): Promise<void> {
  while (!signal.aborted && !(await holds())) await new Promise(resolve => setTimeout(resolve, 250));
}
