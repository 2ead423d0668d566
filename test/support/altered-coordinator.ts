import type { ClusterCoordinator } from '../../src/contracts/cluster.js';
import { hookedCoordinator } from './hooked-coordinator.js';

type Altered = {
  readonly [P in 'routes' | 'log' | 'messenger' | 'locks' | 'selfCheck']?: Partial<NonNullable<ClusterCoordinator[P]>>;
} & Partial<Pick<ClusterCoordinator, 'start' | 'status'>>;

/** A coordinator with some methods of its parts replaced. */
export function alteredCoordinator(inner: ClusterCoordinator, by: Altered): ClusterCoordinator {
  const same = hookedCoordinator(inner, () => undefined);
  const { selfCheck } = same;
  return {
    ...same,
    ...(by.start && { start: by.start }),
    ...(by.status && { status: by.status }),
    routes: { ...same.routes, ...by.routes },
    log: { ...same.log, ...by.log },
    messenger: { ...same.messenger, ...by.messenger },
    locks: { ...same.locks, ...by.locks },
    ...(selfCheck && { selfCheck: { ...selfCheck, ...by.selfCheck } }),
  };
}
