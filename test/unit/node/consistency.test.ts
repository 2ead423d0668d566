import { expect } from 'chai';
import { Reconciler } from '../../../src/node/maintenance.js';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { codeOf } from '../../support/code-of.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';

describe('a node under consistency fail_fast', () => {
  let cluster: TestCluster;
  let node: TestNode;
  let check: Reconciler;

  beforeEach(async () => {
    cluster = new TestCluster();
    const { consistency } = resolveOptions({
      consistency: { inconsistencyHandlingStrategy: 'fail_fast' },
    });
    node = cluster.node('a', {
      // Two seconds between two looks are the business of another test.
      wrap: inner => {
        const { selfCheck } = inner;
        if (selfCheck === undefined) return inner;
        return alteredCoordinator(inner, {
          selfCheck: {
            reconcile: request => selfCheck.reconcile({ ...request, settle: 0 }),
          },
        });
      },
      consistency: ({ coordinator, logger, telemetry }) => {
        check = new Reconciler(consistency, {
          coordinator,
          logger,
          telemetry: telemetry.maintenance,
        });
        return check;
      },
    });
    await node.service.start();
  });

  afterEach(() => cluster.close());

  const codes = (): string[] => node.service.health().reasons.map(({ code }) => code);

  it('that differs from the cluster is live but not ready, and refuses new connections', async () => {
    const { connection } = await node.connect('c1');
    await node.coordinator.routes.unregister('c1', tokenOf(node, 'c1'));
    await check.run('node');
    expect(node.service.health()).to.include({ live: true, ready: false });
    expect(codes()).to.deep.equal(['INCONSISTENT']);
    const refused = node.service.createConnection('c2', new RecordingSink());
    expect(await codeOf(refused)).to.equal('INCONSISTENT');
    expect(connection.state.kind).to.equal('open');
    expect(await node.coordinator.routes.locate('c1')).to.equal(undefined);
  });

  it('is ready again after a check that finds nothing', async () => {
    await node.connect('c1');
    const token = tokenOf(node, 'c1');
    await node.coordinator.routes.unregister('c1', token);
    await check.run('node');
    await node.coordinator.routes.register({ connectionId: 'c1', token, onDuplicate: 'takeover' });
    await check.run('node');
    expect(codes()).to.deep.equal([]);
    await node.connect('c2');
  });

  it('is not in trouble because the cluster cannot be reached', async () => {
    await node.connect('c1');
    cluster.bus.cut('a');
    expect(await check.run('node')).to.have.property('unknown');
    expect(codes()).to.deep.equal(['CLUSTER_UNREACHABLE']);
  });
});

function tokenOf({ store }: TestNode, id: string): string {
  return store.get(id)?.token ?? '';
}
