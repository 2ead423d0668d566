import type { ClusterCoordinator } from '../../src/contracts/cluster.js';

/** Counts `listen` less `unlisten` per topic, which a coordinator in memory has no use for. */
export class ListenCounter {
  readonly #counts = new Map<string, number>();

  /** The coordinator with its `listen` and `unlisten` counted. */
  count(inner: ClusterCoordinator): ClusterCoordinator {
    const add = (topics: Iterable<string>, step: number): void => {
      for (const topic of topics) this.#counts.set(topic, (this.#counts.get(topic) ?? 0) + step);
    };
    return new Proxy(inner, {
      get: (target, key) => {
        if (key === 'listen') {
          return async (topics: Iterable<string>) => {
            const list = [...topics];
            await target.listen(list);
            add(list, 1);
          };
        }
        if (key === 'unlisten') {
          return (topics: Iterable<string>) => {
            const list = [...topics];
            target.unlisten(list);
            add(list, -1);
          };
        }
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  /** Topics with a balance other than zero. */
  get balance(): Record<string, number> {
    return Object.fromEntries([...this.#counts].filter(([, count]) => count !== 0));
  }
}
