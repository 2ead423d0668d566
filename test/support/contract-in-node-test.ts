/** Runs the contract suites under `node:test`. The first argument is `sound`, or `broken` for the suite of a store that fails. */
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { MemoryBus } from '../../src/cluster/memory/bus.js';
import { LocalCoordinator } from '../../src/cluster/memory/coordinator.js';
import type { LocalConnection } from '../../src/contracts/store.js';
import { MemoryConnectionStore } from '../../src/node/store.js';
import { PassthroughPolicy } from '../../src/resilience/policies.js';
import {
  clusterCoordinatorContract,
  connectionSinkContract,
  connectionStoreContract,
  resiliencePolicyContract,
} from '../../src/testing/index.js';
import { openHttp1 } from './sink-pair.js';

/** Forgets the owner whose id another connection takes over. */
class BrokenStore extends MemoryConnectionStore {
  override promote(connection: LocalConnection): undefined {
    super.promote(connection);
    return undefined;
  }
}

const RUNNER = { describe, it, before, after, beforeEach, afterEach };

if (process.argv[2] === 'broken') {
  connectionStoreContract(RUNNER, 'a broken store', () => new BrokenStore());
} else {
  const bus = new MemoryBus();
  connectionStoreContract(RUNNER, 'a store', () => new MemoryConnectionStore());
  resiliencePolicyContract(RUNNER, 'a policy', () => new PassthroughPolicy());
  connectionSinkContract(RUNNER, 'a sink', () => openHttp1(false));
  clusterCoordinatorContract(RUNNER, 'a coordinator', {
    node: async nodeId => new LocalCoordinator(nodeId, { takeoverLimit: 5, takeoverWindow: 30_000 }, bus),
    cut: nodeId => bus.cut(nodeId),
    heal: nodeId => bus.heal(nodeId),
  });
}
