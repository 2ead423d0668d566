import { expect } from 'chai';
import fc from 'fast-check';
import { MemoryBus } from '../../../src/cluster/memory/bus.js';
import { LocalCoordinator } from '../../../src/cluster/memory/coordinator.js';
import type { ReconcileRequest } from '../../../src/contracts/self-check.js';
import { RecordingListener } from '../../support/recording-listener.js';

const LIMIT = { takeoverLimit: 1_000_000, takeoverWindow: 1_000 };
const NODE: ReconcileRequest = {
  scope: 'node',
  maxRepairs: 1_000,
  settle: 0,
  sample: 200,
  notify: false,
};
const CLUSTER: ReconcileRequest = { ...NODE, scope: 'cluster' };
const NODES = ['a', 'b'];
const IDS = ['c1', 'c2', 'c3'];

class Node {
  readonly listener = new RecordingListener();
  readonly coordinator: LocalCoordinator;

  constructor(
    readonly id: string,
    bus: MemoryBus,
  ) {
    this.coordinator = new LocalCoordinator(id, LIMIT, bus);
  }
}

/** Two nodes whose clients come, move and go, while somebody writes wrong routes. */
class World {
  readonly bus = new MemoryBus();
  readonly nodes = NODES.map(id => new Node(id, this.bus));
  /** The connection that owns its id by right: it was not taken over, it has not ended, and its route has no other owner. */
  readonly rightful = new Map<string, { node: Node; token: string }>();
  #tokens = 0;

  async start(): Promise<void> {
    for (const { coordinator, listener } of this.nodes) await coordinator.start(listener);
  }

  token(): string {
    this.#tokens += 1;
    return `t${this.#tokens}`;
  }

  async connect(node: Node, id: string): Promise<void> {
    const token = this.token();
    // As a store does: there while it opens, its owner's successor once it is registered.
    node.listener.opening.add(`${id} ${token}`);
    const registration = { connectionId: id, token, onDuplicate: 'takeover' } as const;
    await node.coordinator.routes.register(registration);
    node.listener.opening.delete(`${id} ${token}`);
    // The client has left its former stream, whether or not that node was notified.
    const former = this.rightful.get(id);
    former?.node.listener.connections.delete(id);
    node.listener.connections.set(id, token);
    this.rightful.set(id, { node, token });
    await former?.node.coordinator.routes.unregister(id, former.token);
  }

  async disconnect(id: string): Promise<void> {
    const owner = this.rightful.get(id);
    if (owner === undefined) return;
    const { node, token } = owner;
    node.listener.connections.delete(id);
    this.rightful.delete(id);
    await node.coordinator.routes.unregister(id, token);
  }

  plant(kind: string, node: Node, id: string): void {
    const route = this.bus.route(id);
    const drop = (): void => {
      if (route !== undefined) this.bus.unregister(route.nodeId, id, route.token);
    };
    const write = (nodeId: string): void => {
      drop();
      const registration = {
        connectionId: id,
        token: this.token(),
        onDuplicate: 'takeover',
      } as const;
      this.bus.register(nodeId, registration, LIMIT);
    };
    switch (kind) {
      case 'missing':
        drop();
        break;
      case 'wrong':
        write(this.rightful.get(id)?.node.id ?? node.id);
        break;
      case 'ghost':
        if (this.rightful.get(id) === undefined) write(node.id);
        break;
      case 'orphan':
        write('gone');
        break;
    }
  }

  /** Two rounds: the first may remove what kept the second from restoring. */
  async settle(): Promise<void> {
    for (let round = 0; round < 2; round += 1) {
      for (const { coordinator } of this.nodes) {
        await coordinator.selfCheck.reconcile(CLUSTER);
        await coordinator.selfCheck.reconcile(NODE);
      }
    }
  }
}

type Step =
  | {
      readonly is: 'connect' | 'plant' | 'check';
      readonly node: number;
      readonly id: string;
      readonly kind: string;
    }
  | { readonly is: 'disconnect'; readonly id: string };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    is: fc.constantFrom('connect', 'plant', 'check'),
    node: fc.nat(NODES.length - 1),
    id: fc.constantFrom(...IDS),
    kind: fc.constantFrom('missing', 'wrong', 'ghost', 'orphan'),
  }),
  fc.record({ is: fc.constant('disconnect' as const), id: fc.constantFrom(...IDS) }),
);

describe('the check of a node on a MemoryBus', () => {
  it('repairs whatever was planted and never harms a live connection, whatever happens meanwhile', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async steps => {
        const world = new World();
        await world.start();
        const checks: Promise<unknown>[] = [];
        for (const one of steps) {
          if (one.is === 'disconnect') {
            await world.disconnect(one.id);
            continue;
          }
          const node = world.nodes[one.node];
          if (node === undefined) continue;
          if (one.is === 'connect') await world.connect(node, one.id);
          else if (one.is === 'plant') world.plant(one.kind, node, one.id);
          // Not waited for: its two looks fall between the steps that follow.
          else checks.push(node.coordinator.selfCheck.reconcile(one.kind === 'orphan' ? CLUSTER : NODE));
          if (one.is === 'check') await new Promise(resolve => setTimeout(resolve, one.node));
        }
        await Promise.all(checks);
        await world.settle();

        for (const [id, { node, token }] of world.rightful) {
          // An orphan's route may be live for a moment: the connection that it displaced was notified.
          expect(node.listener.connections.get(id), `${id} of ${node.id}`).to.equal(token);
          expect(world.bus.route(id)).to.include({ nodeId: node.id, token });
        }
        expect(world.bus.count).to.equal(world.rightful.size);
        for (const { coordinator } of world.nodes) {
          expect((await coordinator.selfCheck.reconcile({ ...NODE, maxRepairs: 0 })).findings).to.deep.equal([]);
        }
      }),
      { numRuns: 150 },
    );
  });
});
