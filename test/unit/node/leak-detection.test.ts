import { expect } from 'chai';
import sinon from 'sinon';
import type { LeakProbe } from '../../../src/contracts/self-check.js';
import { connectionProbes, LeakDetection } from '../../../src/node/maintenance.js';
import { SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { amount } from '../../support/extent.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

const ROUNDS = amount(10, 100);
const SILENT = new SilentTelemetry().maintenance;

describe('LeakDetection', () => {
  let detection: LeakDetection;
  let logger: RecordingLogger;
  let reported: [kind: string, count: number][];

  beforeEach(() => {
    logger = new RecordingLogger();
    reported = [];
    const telemetry = {
      ...new SilentTelemetry().maintenance,
      leaked: (kind: string, count: number) => reported.push([kind, count]),
    };
    detection = new LeakDetection(1000, logger, telemetry);
  });

  afterEach(() => {
    detection.stop();
  });

  describe('of any kind', () => {
    let leaks: Set<string>;
    let released: string[];

    beforeEach(() => {
      leaks = new Set();
      released = [];
      const probe: LeakProbe<string> = {
        kind: 'thing',
        suspects: () => [...leaks],
        release: leak => {
          released.push(leak);
          leaks.delete(leak);
        },
      };
      detection.watch([probe]);
    });

    it('reports only leaks that two checks in a row find', () => {
      leaks.add('a').add('b');
      expect(detection.run()).to.deep.equal({});
      leaks.delete('a');
      leaks.add('c');
      expect(detection.run()).to.deep.equal({ thing: 1 });
      expect(released).to.deep.equal(['b']);
    });

    it('reports how many of which kind', () => {
      leaks.add('a').add('b');
      detection.run();
      detection.run();
      expect(reported).to.deep.equal([['thing', 2]]);
      expect(logger.at('warn')[0]?.fields).to.deep.equal({ kind: 'thing', count: 2 });
    });

    it('forgets suspects that are gone at the next check', () => {
      leaks.add('a');
      detection.run();
      leaks.delete('a');
      detection.run();
      leaks.add('a');
      expect(detection.run()).to.deep.equal({});
    });

    it('goes on when a probe fails, and logs that', () => {
      const broken = (): never => {
        throw new Error('broken');
      };
      const [first, second] = [new LeakDetection(1000, logger, SILENT), detection];
      const probe = { kind: 'thing', suspects: () => [...leaks], release: () => leaks.clear() };
      first.watch([{ kind: 'broken', suspects: broken, release: broken }, probe]);
      second.watch([{ kind: 'stuck', suspects: () => [1], release: broken }]);
      leaks.add('a');
      for (const each of [first, second]) each.run();
      expect(first.run()).to.deep.equal({ thing: 1 });
      expect(second.run()).to.deep.equal({});
      const failures = logger.at('error').map(({ fields }) => fields?.['kind']);
      expect(failures).to.deep.equal(['broken', 'broken', 'stuck']);
    });

    it('checks at each interval until it is stopped', () => {
      const clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      try {
        leaks.add('a');
        detection.start();
        detection.start();
        clock.tick(2000);
        expect(released).to.deep.equal(['a']);
        detection.stop();
        expect(clock.countTimers()).to.equal(0);
      } finally {
        clock.restore();
      }
    });
  });

  describe('of connections', () => {
    let cluster: TestCluster;
    let node: TestNode;

    beforeEach(async () => {
      cluster = new TestCluster();
      node = await cluster.started('a', { options: { connection: { heartbeat: 1000 } } });
      detection.watch(connectionProbes(node.service.node));
    });

    afterEach(() => cluster.close());

    it('finds a connection whose socket closed without an event', async () => {
      const { connection, sink } = await node.connect('c1');
      await node.connect('c2');
      // The sink emits no end.
      sink.destroyed = true;
      detection.run();
      expect(detection.run()).to.deep.equal({ connection: 1 });
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'client' });
      expect(node.service.getConnectionCount()).to.equal(1);
    });

    it(`finds nothing in ${1_000 * ROUNDS} connections that come and go`, async () => {
      const found: object[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const clients = await Promise.all(Array.from({ length: 1_000 }, (_, n) => node.connect(`c${n}`)));
        found.push(detection.run());
        for (const [n, { connection, sink }] of clients.entries()) {
          if (n % 3 === 0) sink.leave();
          else if (n % 3 === 1) connection.close();
          else node.store.get(connection.id)?.cut('stale');
        }
        found.push(detection.run());
        await turns();
      }
      expect(found.filter(leaks => Object.keys(leaks).length > 0)).to.deep.equal([]);
      expect(node.service.getConnectionCount()).to.equal(0);
    }).timeout(60_000);
  });
});
