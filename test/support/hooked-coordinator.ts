import type { ClusterCoordinator } from '../../src/contracts/cluster.js';

type Method = Exclude<
  keyof ClusterCoordinator,
  'kind' | 'status' | 'unlisten' | 'position' | 'leakProbes'
>;

/** Is called before and after each call to the cluster, and may take its time or throw. */
export type Hook = (method: Method, when: 'before' | 'after') => void | Promise<void>;

/** A coordinator whose answers a test can delay, lose, or use as the moment to do something else. */
export function hookedCoordinator(inner: ClusterCoordinator, hook: Hook): ClusterCoordinator {
  const around =
    <A extends unknown[], R>(method: Method, call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await hook(method, 'before');
      const result = await call(...args);
      await hook(method, 'after');
      return result;
    };
  return {
    kind: inner.kind,
    status: () => inner.status(),
    position: () => inner.position(),
    leakProbes: () => inner.leakProbes(),
    unlisten: topics => {
      inner.unlisten(topics);
    },
    start: around('start', listener => inner.start(listener)),
    close: around('close', () => inner.close()),
    register: around('register', registration => inner.register(registration)),
    unregister: around('unregister', (id, token) => inner.unregister(id, token)),
    releaseRoutes: around('releaseRoutes', () => inner.releaseRoutes()),
    locate: around('locate', id => inner.locate(id)),
    count: around('count', () => inner.count()),
    nodes: around('nodes', () => inner.nodes()),
    send: around('send', message => inner.send(message)),
    publish: around('publish', publication => inner.publish(publication)),
    listen: around('listen', topics => inner.listen(topics)),
    replay: around('replay', request => inner.replay(request)),
    check: around('check', request => inner.check(request)),
    confirm: around('confirm', (id, position) => inner.confirm(id, position)),
    claim: around('claim', (name, holder, ms) => inner.claim(name, holder, ms)),
    closeConnection: around('closeConnection', (id, reason) => inner.closeConnection(id, reason)),
    closeAllConnections: around('closeAllConnections', reason => inner.closeAllConnections(reason)),
    subscribe: around('subscribe', (id, topic) => inner.subscribe(id, topic)),
    unsubscribe: around('unsubscribe', (id, topic) => inner.unsubscribe(id, topic)),
    presence: around('presence', topic => inner.presence(topic)),
  };
}
