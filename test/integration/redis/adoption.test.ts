import { expect } from 'chai';
import type { SseService } from '../../../src/contracts/service.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { RedisServices } from '../../support/redis/redis-services.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

describe('a client that connects to a node which is cut off from Redis', () => {
  const server = withRedis();
  const services = new RedisServices(() => server.redis.port);
  let a: SseService;
  let b: SseService;

  beforeEach(async () => {
    [a, b] = await Promise.all([services.node('a'), services.node('b')]);
    await publish(1, 3);
    services.cut('a');
    await until(() => !a.health().ready, 'the outage');
  });
  afterEach(() => services.dispose());

  async function publish(from: number, to: number, topic = 'news'): Promise<void> {
    for (let n = from; n <= to; n += 1) await b.publish(topic, 'message', n);
  }

  async function connect(id: string, lastEventId?: string): Promise<RecordingSink> {
    const sink = new RecordingSink();
    const resumes = lastEventId === undefined ? {} : { lastEventId };
    await a.createConnection(id, sink, { topics: ['news', 'quiet'], ...resumes });
    return sink;
  }

  const isAdopted = (id: string) => async (): Promise<boolean> => (await b.locate(id)) === 'a';

  it('is adopted in place: one reset for what it may have missed, then everything that follows', async () => {
    const sink = await connect('me');
    await publish(4, 8);
    services.heal('a');
    await until(isAdopted('me'), 'the adoption');
    await publish(9, 20);
    await until(() => sink.data('message').length === 12, 'what follows');
    expect(sink.data('message').map(Number)).to.deep.equal(Array.from({ length: 12 }, (_, n) => n + 9));
    const resets = sink.data('sse.reset').map(text => JSON.parse(text) as unknown);
    expect(resets).to.have.length(1);
    expect(resets[0]).to.deep.include({ reason: 'GAP', topics: ['news'] });
    expect(sink.data('sse.closed')).to.deep.equal([]);
    expect((await b.sendMessageToConnection('me', 'note', 'x')).outcome).to.equal('delivered');
  });

  it('gets no reset when nothing was published that it follows', async () => {
    const sink = await connect('me');
    await publish(1, 3, 'other');
    services.heal('a');
    await until(isAdopted('me'), 'the adoption');
    await publish(4, 5);
    await until(() => sink.data('message').length === 2, 'what follows');
    expect(sink.data('sse.reset')).to.deep.equal([]);
  });

  it('gets every entry after the last id that it brought', async () => {
    const before = new RecordingSink();
    await b.createConnection('me', before, { topics: ['news'] });
    before.leave();
    await publish(4, 5);
    const sink = await connect('me', before.lastId);
    await publish(6, 8);
    services.heal('a');
    await until(() => sink.data('message').length === 5, 'what was missed');
    await publish(9, 9);
    await until(() => sink.data('message').length === 6, 'what follows');
    expect(sink.data('message').map(Number)).to.deep.equal([4, 5, 6, 7, 8, 9]);
    expect(sink.data('sse.reset')).to.deep.equal([]);
  });
});
