import type { Beating, HeartbeatWheel } from '../connection/heartbeat-wheel.js';
import type { Watchdog, Watched } from '../connection/watchdog.js';
import type { ConnectionStore, LocalConnection } from '../contracts/connection-store.js';
import type { Frame } from '../contracts/frame.js';
import type { LeakProbe } from '../contracts/leak-probe.js';
import type { SseNode } from './sse-node.js';

const NOTHING: Frame = { bytes: Buffer.alloc(0) };

/** What can be left behind of connections: one whose socket is gone and nobody told, and a timer that visits an ended one. */
export function connectionProbes({
  store,
  environment,
}: Pick<SseNode, 'store' | 'environment'>): LeakProbe[] {
  const { wheel, watchdog } = environment;
  const probes: LeakProbe[] = [connectionProbe(store), watchdogProbe(watchdog)];
  return wheel === undefined ? probes : [...probes, heartbeatProbe(wheel)];
}

function connectionProbe(store: ConnectionStore): LeakProbe<LocalConnection> {
  return {
    kind: 'connection',
    suspects: () => [...store.connections()].filter(isGone),
    release: connection => connection.cut('client'),
  };
}

function watchdogProbe(watchdog: Watchdog): LeakProbe<Watched> {
  return {
    kind: 'timer',
    suspects: () => [...watchdog.members()].filter(hasEnded),
    release: member => watchdog.forget(member),
  };
}

function heartbeatProbe(wheel: HeartbeatWheel): LeakProbe<Beating> {
  return {
    kind: 'heartbeat',
    suspects: () => [...wheel.members()].filter(hasEnded),
    release: member => wheel.remove(member),
  };
}

/** An empty frame writes nothing; only the answer counts. */
function isGone(connection: LocalConnection): boolean {
  return connection.state.kind === 'open' && connection.deliver(NOTHING).outcome === 'closed';
}

/** The timers know of their members only what they need; all of them are connections. */
function hasEnded(member: object): boolean {
  return (member as Partial<LocalConnection>).state?.kind === 'closed';
}
