import { expect } from 'chai';
import sinon from 'sinon';
import { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import { clusterProbes, type JoinedNode } from '../../../src/cluster/redis/joined-node.js';
import { LeakDetection } from '../../../src/node/maintenance.js';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

describe('leaks of a node in Redis', () => {
  const server = withRedis();
  let coordinator: RedisCoordinator;
  let listener: RecordingListener;
  let detection: LeakDetection;

  beforeEach(async () => {
    const logger = new RecordingLogger();
    const telemetry = new SilentTelemetry().maintenance;
    const options = resolveOptions({ redis: { url: server.redis.url }, history: { linger: 0 } });
    coordinator = new RedisCoordinator(options, logger, telemetry);
    listener = new RecordingListener();
    await coordinator.start(listener);
    detection = new LeakDetection(1000, logger, telemetry);
    detection.watch(coordinator.selfCheck.leakProbes());
  });

  afterEach(() => coordinator.close());

  it('a feed without followers is found and ended', async () => {
    await coordinator.log.subscribe(['followed', 'left', 'left']);
    listener.subscriptions.set('followed', new Set(['c1']));
    expect(detection.run()).to.deep.equal({});
    expect(detection.run()).to.deep.equal({ feed: 1 });
    expect(detection.run()).to.deep.equal({});
    await coordinator.log.publish({
      topic: 'left',
      body: Buffer.from('data: x\n\n'),
      retention: false,
    });
    await coordinator.log.publish({
      topic: 'followed',
      body: Buffer.from('data: y\n\n'),
      retention: false,
    });
    expect(listener.publications.map(({ topic }) => topic)).to.not.include('left');
  });

  it('a feed that a follower is joining is no leak', async () => {
    const joined = coordinator.log.subscribe(['news']);
    detection.run();
    expect(detection.run()).to.deep.equal({});
    await joined;
    listener.subscriptions.set('news', new Set(['c1']));
    expect(detection.run()).to.deep.equal({});
    await coordinator.log.publish({
      topic: 'news',
      body: Buffer.from('data: x\n\n'),
      retention: false,
    });
    await until(() => listener.publications.length === 1, 'the publication');
  });

  it('a node at rest has no leak', async () => {
    await coordinator.messenger.send({
      connectionId: 'nobody',
      messageId: 'm1',
      frame: { bytes: Buffer.from('data: x\n\n') },
      ack: 'owner',
      deadline: 100,
    });
    detection.run();
    expect(detection.run()).to.deep.equal({});
  });

  it('a send that waits beyond its deadline, because a call never ended, is found and released', async () => {
    const run = sinon.stub(RedisGateway.prototype, 'run').callThrough();
    const sending = run.withArgs(sinon.match({ name: 'send' }), sinon.match.any).returns(new Promise(() => undefined));
    // The deadline must not pass before the call begins.
    const clock = sinon.useFakeTimers({ toFake: ['performance'] });
    try {
      void coordinator.messenger.send({
        connectionId: 'c1',
        messageId: 'm1',
        frame: { bytes: Buffer.from('data: x\n\n') },
        ack: 'owner',
        deadline: 20,
      });
      await until(() => sending.called, 'the call');
      expect([detection.run(), detection.run()]).to.deep.equal([{}, {}]);
      clock.tick(20);
      expect([detection.run(), detection.run(), detection.run()]).to.deep.equal([{}, { send: 1 }, {}]);
    } finally {
      clock.restore();
      run.restore();
    }
  });

  it('sends past their deadline and frames held without need are released', () => {
    const done: string[] = [];
    const late = { over: true };
    const node = {
      router: {
        overdue: () => [late],
        abandon: (send: unknown) => done.push(`send ${send === late}`),
      },
      feed: { unfollowed: [], holdsForNothing: true, dropHeld: () => done.push('frames') },
    };
    // Only what the probes ask for.
    detection.watch(clusterProbes(() => node as unknown as JoinedNode));
    detection.run();
    expect(detection.run()).to.deep.equal({ send: 1, 'held-frames': 1 });
    expect(done).to.deep.equal(['send true', 'frames']);
  });
});
