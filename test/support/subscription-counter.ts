import type { ClusterCoordinator } from '../../src/contracts/cluster.js';

/** Counts `log.subscribe` less `log.unsubscribe` per topic, which a coordinator in memory has no use for. */
export class SubscriptionCounter {
  readonly #counts = new Map<string, number>();

  /** The coordinator with the subscriptions of its log counted. */
  count(inner: ClusterCoordinator): ClusterCoordinator {
    const { log } = inner;
    const add = (topics: Iterable<string>, step: number): void => {
      for (const topic of topics) this.#counts.set(topic, (this.#counts.get(topic) ?? 0) + step);
    };
    return {
      kind: inner.kind,
      routes: inner.routes,
      messenger: inner.messenger,
      locks: inner.locks,
      ...(inner.selfCheck && { selfCheck: inner.selfCheck }),
      start: listener => inner.start(listener),
      close: () => inner.close(),
      status: () => inner.status(),
      log: {
        ...log,
        subscribe: async topics => {
          const list = [...topics];
          await log.subscribe(list);
          add(list, 1);
        },
        unsubscribe: topics => {
          const list = [...topics];
          log.unsubscribe(list);
          add(list, -1);
        },
      },
    };
  }

  /** Topics with a balance other than zero. */
  get balance(): Record<string, number> {
    return Object.fromEntries([...this.#counts].filter(([, count]) => count !== 0));
  }
}
