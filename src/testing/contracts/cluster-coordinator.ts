import { Ground, type ClusterFactory, type ContractExtent } from './coordinator/ground.js';
import { lifeContract } from './coordinator/life.js';
import { messagesContract } from './coordinator/messages.js';
import { publicationsContract } from './coordinator/publications.js';
import { replayContract } from './coordinator/replay.js';
import { routesContract } from './coordinator/routes.js';
import type { TestRunner } from './runner.js';

/** What every implementation of `ClusterCoordinator` does. */
export function clusterCoordinatorContract(
  runner: TestRunner,
  name: string,
  factory: ClusterFactory,
  extent: ContractExtent = {},
): void {
  const ground = new Ground(runner, factory, extent);
  runner.describe(`${name} as a ClusterCoordinator`, () => {
    ground.prepare();
    routesContract(ground);
    messagesContract(ground);
    publicationsContract(ground);
    replayContract(ground);
    lifeContract(ground);
  });
}
