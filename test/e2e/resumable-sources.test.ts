import { expect } from 'chai';
import { ChildProgram } from '../support/child-program.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { amount } from '../support/extent.js';
import { withRedis } from '../support/redis/with-redis.js';
import { reached, until } from '../support/until.js';

const LEASE_MS = 1_500;
const WORDS = amount(1_500, 5_000);
// So long between two words that the source still runs when its node is killed.
const PAUSE = 20;

interface Node {
  readonly program: ChildProgram;
  readonly url: string;
}

describe('a resumable source over Redis', () => {
  const redis = withRedis();
  const nodes: Node[] = [];
  const clients: EventStreamClient[] = [];
  let questions = 0;

  const start = async (): Promise<Node> => {
    const program = ChildProgram.start('examples/06-resumable-answers/main.js', {
      PORT: '0',
      REDIS_URL: redis.redis.url,
      SSE_SOURCE_LEASE: String(LEASE_MS),
      SSE_NODE_LEASE: '1500',
      SSE_NODE_HEARTBEAT: '300',
    });
    const [, url = ''] = await program.printed(/^listening on (\S+)$/m);
    return { program, url };
  };
  /** Three nodes; those that a test before has left are used again. */
  const three = async (): Promise<readonly [Node, Node, Node]> => {
    const left = nodes
      .splice(0)
      .filter(({ program: { process } }) => process.exitCode === null && process.signalCode === null);
    nodes.push(...left, ...(await Promise.all(Array.from({ length: 3 - left.length }, start))));
    const [first, second, third] = nodes;
    if (first === undefined || second === undefined || third === undefined) throw new Error('three were started');
    return [first, second, third];
  };

  beforeEach(() => {
    questions += 1;
  });

  afterEach(() => {
    for (const client of clients.splice(0)) client.leave();
  });

  after(async () => {
    for (const { program } of nodes) await program.stop('SIGKILL');
  });

  const follow = async ({ url }: Node, pause: number, lastEventId?: string): Promise<EventStreamClient> => {
    const path = `/answers/question-${questions}?words=${WORDS}&pause=${pause}`;
    const headers: Record<string, string> = lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId };
    const client = await EventStreamClient.open(url + path, { headers });
    clients.push(client);
    return client;
  };
  const numbers = (client: EventStreamClient): number[] =>
    client.data('word').map(data => (JSON.parse(data) as { n: number }).n);
  const lastId = (client: EventStreamClient): string => client.events.findLast(({ id }) => id !== undefined)?.id ?? '';

  it('reaches a client whole, in order and once, though its node is killed in the middle', async () => {
    const [producer, edge, other] = await three();
    // The node of the first client runs the source.
    const first = await follow(producer, 0);
    await first.event('word');
    const client = await follow(edge, 0);
    const words = (of: EventStreamClient) => (): number => of.data('word').length;
    await reached(words(client), WORDS / 10, 'words');
    await edge.program.stop('SIGKILL');
    await client.ended();
    const again = await follow(other, 0, lastId(client));
    await reached(() => words(client)() + words(again)(), WORDS, 'words');
    await again.event('sse.closed');
    const everything = Array.from({ length: WORDS }, (_, n) => n);
    expect([...numbers(client), ...numbers(again)]).to.deep.equal(everything);
    await reached(words(first), WORDS, 'words');
    await first.event('sse.closed');
    expect(numbers(first)).to.deep.equal(everything);
    expect(await again.ended()).to.equal('clean');
    // A client that has all events is answered 204.
    await until(async () => (await follow(producer, 0, lastId(again))).status === 204, 'the end to be known');
  }).timeout(180_000);

  it('ends for every follower with sse.reset PRODUCER_LOST within its lease and a half when its node is killed', async () => {
    const [producer, edge, other] = await three();
    const first = await follow(producer, PAUSE);
    await first.event('word');
    const followers = await Promise.all([edge, edge, other, other].map(node => follow(node, PAUSE)));
    for (const client of followers) await client.event('word');
    await producer.program.stop('SIGKILL');
    const killedAt = performance.now();
    for (const client of followers) {
      const reset = await client.event('sse.reset');
      expect(JSON.parse(reset.data)).to.include({ reason: 'PRODUCER_LOST' });
      expect(await client.ended()).to.equal('clean');
      expect(client.data('sse.reset')).to.have.length(1);
    }
    // Lease, half a lease between two looks, and what a busy machine adds.
    expect(performance.now() - killedAt).to.be.lessThan(LEASE_MS * 1.5 + 2_000);
    const late = await follow(other, PAUSE);
    await late.event('sse.reset');
    expect(numbers(late)).to.deep.equal(numbers(followers[0] ?? late));
  }).timeout(180_000);
});
