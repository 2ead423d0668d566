import type { Beating, HeartbeatWheel, Watchdog, Watched } from '../connection/timers.js';
import type { EventLog } from '../contracts/cluster.js';
import type { Frame } from '../contracts/events.js';
import type { Logger } from '../contracts/logger.js';
import type { LeakProbe } from '../contracts/self-check.js';
import type { ConnectionStore, LocalConnection } from '../contracts/store.js';
import type { MaintenanceTelemetry } from '../contracts/telemetry.js';
import { formatCursor } from '../protocol/cursor.js';
import { encodeId } from '../protocol/event-stream.js';
import type { SseNode } from './node.js';

/**
 * Moves quiet clients along: one that is given nothing for as long as the log keeps entries would come back with an id that
 * is too old to say that nothing is missing. Writes the present place as a block that is only an id, which a browser takes
 * over without an event.
 */
export class CursorRefresh {
  #timer: NodeJS.Timeout | undefined;

  /** @param historyTtl milliseconds that the log keeps an entry */
  constructor(
    private readonly store: ConnectionStore,
    private readonly log: Pick<EventLog, 'position'>,
    private readonly historyTtl: number,
  ) {}

  /** Runs twice in the time that entries are kept, until {@link stop}. Twice is harmless. */
  start(): void {
    this.#timer ??= setInterval(() => this.run(), this.historyTtl / 2).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** One pass over the store. Returns how many clients it moved. */
  run(): number {
    const position = this.log.position();
    if (position === undefined) return 0;
    const frame = { bytes: encodeId(formatCursor(position)), position };
    let moved = 0;
    for (const connection of [...this.store.connections()]) {
      const { state, fencingToken, sendBufferBytes } = connection;
      // A connection without a fencing token is unknown to the cluster: it may have missed entries. A slow one gets events soon.
      if (state.kind !== 'open' || fencingToken === undefined || sendBufferBytes > 0) continue;
      if (connection.hasReached(position)) continue;
      connection.enqueue(frame);
      moved += 1;
    }
    return moved;
  }
}

/** How the cleanup works. */
interface ExpiryCleanupSettings {
  readonly enabled: boolean;
  /** Milliseconds between two runs. */
  readonly interval: number;
  /** Milliseconds since the last accepted byte after which a connection is removed. */
  readonly connectionTtl: number;
}

/** Removes connections of this node whose sockets have taken nothing for `cleanup.connectionTtl`. */
export class ExpiryCleanup {
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly store: ConnectionStore,
    private readonly settings: ExpiryCleanupSettings,
    private readonly logger: Logger,
    private readonly telemetry: Pick<MaintenanceTelemetry, 'cleaning'>,
  ) {}

  /** Runs every `cleanup.interval` until {@link stop}; does nothing when the cleanup is off. Twice is harmless. */
  start(): void {
    if (!this.settings.enabled) return;
    this.#timer ??= setInterval(() => this.run(), this.settings.interval).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** One pass over the store. Returns how many connections it removed. */
  run(): number {
    return this.telemetry.cleaning('connection', () => this.#removeExpired());
  }

  #removeExpired(): number {
    const oldest = Date.now() - this.settings.connectionTtl;
    const expired = [...this.store.connections()].filter(
      ({ lastProgressAt }) => lastProgressAt < oldest,
    );
    for (const connection of expired) connection.close('expired');
    if (expired.length > 0)
      this.logger.info('expired connections removed', { count: expired.length });
    return expired.length;
  }
}

/**
 * Looks for what nobody owns any more, and lets go of it. Things end all the time, and not everything about them at one
 * instant: only what looks leaked at two looks in a row is a leak.
 */
export class LeakDetection {
  readonly #probes: LeakProbe[] = [];
  #suspects = new Map<LeakProbe, ReadonlySet<unknown>>();
  #timer: NodeJS.Timeout | undefined;

  /** @param interval milliseconds between two looks */
  constructor(
    private readonly interval: number,
    private readonly logger: Logger,
    private readonly telemetry: Pick<MaintenanceTelemetry, 'leaked'>,
  ) {}

  /** Adds what is to be looked at. */
  watch(probes: Iterable<LeakProbe>): void {
    this.#probes.push(...probes);
  }

  /** Looks every interval until {@link stop}. Twice is harmless. */
  start(): void {
    this.#timer ??= setInterval(() => this.run(), this.interval).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#suspects = new Map();
  }

  /** One look. Returns how many leaks it let go of, by kind; kinds without any are left out. */
  run(): Readonly<Record<string, number>> {
    const leaks: Record<string, number> = {};
    const suspects = new Map<LeakProbe, ReadonlySet<unknown>>();
    for (const probe of this.#probes) {
      try {
        const count = this.#look(probe, suspects);
        if (count > 0) leaks[probe.kind] = (leaks[probe.kind] ?? 0) + count;
      } catch (error) {
        // A service of the application's own may have it.
        this.logger.error('leaks could not be looked for', { kind: probe.kind, error });
      }
    }
    this.#suspects = suspects;
    return leaks;
  }

  /** Returns how many leaks of one kind it let go of; notes what looks like one. */
  #look(probe: LeakProbe, suspects: Map<LeakProbe, ReadonlySet<unknown>>): number {
    const before = this.#suspects.get(probe);
    const now = new Set(probe.suspects());
    const confirmed = [...now].filter(suspect => before?.has(suspect));
    suspects.set(probe, now);
    for (const leak of confirmed) {
      probe.release(leak);
      now.delete(leak);
    }
    const count = confirmed.length;
    if (count === 0) return 0;
    this.telemetry.leaked(probe.kind, count);
    this.logger.warn('leaks were found and let go', { kind: probe.kind, count });
    return count;
  }
}

const NOTHING: Frame = { bytes: Buffer.alloc(0) };

/** The leaks of connections: one that missed the end of its socket, and a timer that visits an ended connection. */
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
    suspects: () => [...watchdog.connections()].filter(hasEnded),
    release: connection => watchdog.forget(connection),
  };
}

function heartbeatProbe(wheel: HeartbeatWheel): LeakProbe<Beating> {
  return {
    kind: 'heartbeat',
    suspects: () => [...wheel.connections()].filter(hasEnded),
    release: connection => wheel.remove(connection),
  };
}

/** An empty frame writes nothing; only the answer counts. */
function isGone(connection: LocalConnection): boolean {
  return (
    connection.state.kind === 'open' && connection.deliver(NOTHING).outcome === 'not-connected'
  );
}

/** All that the timers visit are connections, although they see less of them. */
function hasEnded(connection: object): boolean {
  return (connection as Partial<LocalConnection>).state?.kind === 'closed';
}
