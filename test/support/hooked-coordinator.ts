import type { ClusterCoordinator } from '../../src/contracts/cluster.js';

type Part = 'routes' | 'log' | 'messenger' | 'locks' | 'selfCheck';
type MethodOf<P extends Part> = `${P}.${string & keyof NonNullable<ClusterCoordinator[P]>}`;
type Method =
  | 'start'
  | 'close'
  | Exclude<
      { [P in Part]: MethodOf<P> }[Part],
      'log.unsubscribe' | 'log.position' | 'log.lastPosition' | 'selfCheck.leakProbes'
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
  const { routes, log, messenger, locks, selfCheck } = inner;
  return {
    kind: inner.kind,
    status: connectionId => inner.status(connectionId),
    start: around('start', listener => inner.start(listener)),
    close: around('close', () => inner.close()),
    routes: {
      register: around('routes.register', registration => routes.register(registration)),
      unregister: around('routes.unregister', (id, token) => routes.unregister(id, token)),
      releaseAll: around('routes.releaseAll', () => routes.releaseAll()),
      locate: around('routes.locate', id => routes.locate(id)),
      count: around('routes.count', () => routes.count()),
      nodes: around('routes.nodes', () => routes.nodes()),
    },
    log: {
      publish: around('log.publish', publication => log.publish(publication)),
      replay: around('log.replay', request => log.replay(request)),
      subscribe: around('log.subscribe', topics => log.subscribe(topics)),
      unsubscribe: topics => {
        log.unsubscribe(topics);
      },
      forget: around('log.forget', topic => log.forget(topic)),
      kept: around('log.kept', topic => log.kept(topic)),
      remember: around('log.remember', change => log.remember(change)),
      recall: around('log.recall', (id, ttl) => log.recall(id, ttl)),
      position: () => log.position(),
      lastPosition: () => log.lastPosition(),
    },
    messenger: {
      send: around('messenger.send', message => messenger.send(message)),
      close: around('messenger.close', (id, reason, trace) => messenger.close(id, reason, trace)),
      closeAll: around('messenger.closeAll', (reason, trace) => messenger.closeAll(reason, trace)),
      revoke: around('messenger.revoke', (revocation, trace) => messenger.revoke(revocation, trace)),
      subscribe: around('messenger.subscribe', (id, topic) => messenger.subscribe(id, topic)),
      unsubscribe: around('messenger.unsubscribe', (id, topic) => messenger.unsubscribe(id, topic)),
      outcomeOf: around('messenger.outcomeOf', sent => messenger.outcomeOf(sent)),
      endSource: around('messenger.endSource', key => messenger.endSource(key)),
      presence: around('messenger.presence', topic => messenger.presence(topic)),
      confirm: around('messenger.confirm', report => messenger.confirm(report)),
      isConfirmed: around('messenger.isConfirmed', (id, message, ms) => messenger.isConfirmed(id, message, ms)),
      hasReached: around('messenger.hasReached', (id, at) => messenger.hasReached(id, at)),
    },
    locks: {
      acquireLock: around('locks.acquireLock', (name, holder, ms) => locks.acquireLock(name, holder, ms)),
      releaseLock: around('locks.releaseLock', (name, holder) => locks.releaseLock(name, holder)),
      lockHolder: around('locks.lockHolder', name => locks.lockHolder(name)),
    },
    ...(selfCheck && {
      selfCheck: {
        reconcile: around('selfCheck.reconcile', request => selfCheck.reconcile(request)),
        leakProbes: () => selfCheck.leakProbes(),
      },
    }),
  };
}
