import { expect } from 'chai';
import sinon from 'sinon';
import { LiveNodes } from '../../../src/cluster/redis/leases.js';
import { SseError } from '../../../src/errors.js';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { CockatielPolicy } from '../../../src/resilience/policies.js';
import { codeOf } from '../../support/code-of.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

describe('a publication that is repeated', () => {
  const server = withRedis();
  let account = '';
  const nodes = new RedisNodes(() => ({ url: server.redis.url.replace('//', `//${account}`) }));

  afterEach(async () => {
    sinon.restore();
    account = '';
    await nodes.dispose();
  });

  it('by the policy is in the log once when only the nodes could not be counted, as with one shard down', async () => {
    const coordinator = await nodes.node('a');
    const listener = new RecordingListener();
    await coordinator.start(listener);
    const policy = new CockatielPolicy(resolveOptions({ script: { retryInterval: 1 } }));
    const count = sinon.stub(LiveNodes.prototype, 'count').callThrough();
    for (const failing of [0, 1]) {
      count.onCall(failing).rejects(new SseError('UNAVAILABLE', 'a shard is down'));
    }
    const publish = (data: string) =>
      policy.execute('publish', () =>
        coordinator.log.publish({
          topic: undefined,
          body: Buffer.from(`data: ${data}\n\n`),
          retention: { maxEntries: 10, ttl: 10_000 },
        }),
      );
    expect((await publish('first')).nodes).to.equal(1);
    await publish('second');
    await until(() => listener.publications.some(has('second')), 'both');
    expect(listener.publications.filter(has('first'))).to.have.length(1);
  });

  it('by its caller comes, though it is not kept and Redis refused the first try half way', async () => {
    const { admin } = server.redis;
    const listener = new RecordingListener();
    await (await nodes.node('a')).start(listener);
    await admin.acl('SETUSER', 'writer', 'on', '>secret', '~*', '&*', '+@all');
    account = 'writer:secret@';
    const writer = await nodes.node('b');
    await writer.start(new RecordingListener());
    const publish = () =>
      writer.log.publish({
        topic: undefined,
        body: Buffer.from('data: x\n\n'),
        retention: false,
        idempotencyKey: 'k',
      });
    await admin.acl('SETUSER', 'writer', '-publish');
    expect(await codeOf(publish())).to.equal('INTERNAL');
    await admin.acl('SETUSER', 'writer', '+publish');
    await publish();
    await until(() => listener.publications.some(has('x')), 'the publication');
  });
});

function has(data: string): (publication: { readonly text: string }) => boolean {
  return ({ text }) => text.includes(`data: ${data}`);
}
