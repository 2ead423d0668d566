import { presentOutcome } from '../connection/direct-send.js';
import type { Beating, HeartbeatWheel, Watchdog, Watched } from '../connection/scheduler.js';
import type { ClusterCoordinator, EventLog } from '../contracts/cluster.js';
import type { Logger } from '../contracts/logger.js';
import type { InconsistencyListener, LeakProbe, ReconcileReport, ReconcileRequest } from '../contracts/self-check.js';
import type { ConnectionStore, LocalConnection } from '../contracts/store.js';
import type { MaintenanceTelemetry } from '../contracts/telemetry.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { formatCursor } from '../protocol/cursor.js';
import { encodePosition } from '../protocol/event-stream.js';
import { Periodic } from '../time.js';

/** Everything that {@link Maintenance} works on and reports to. */
interface MaintenanceParts extends ReconcilerParts {
  readonly options: Pick<ResolvedSseOptions, 'cleanup' | 'consistency' | 'history' | 'reliability'>;
  readonly store: ConnectionStore;
  readonly coordinator: Pick<ClusterCoordinator, 'log' | 'status' | 'selfCheck'>;
  readonly telemetry: MaintenanceTelemetry;
}

/** The background work of one node: expires connections, moves quiet clients along, reconciles, and detects leaks. */
export class Maintenance {
  readonly reconciler: Reconciler;
  readonly #cleanup: ExpiryCleanup;
  readonly #refresh: CursorRefresh;
  readonly #leaks: LeakDetection;

  constructor(private readonly parts: MaintenanceParts) {
    const { options, store, coordinator, logger, telemetry } = parts;
    this.reconciler = new Reconciler(options.consistency, parts);
    this.#cleanup = new ExpiryCleanup(store, options.cleanup, logger, telemetry);
    this.#refresh = new CursorRefresh(store, coordinator.log, options.history.ttl);
    this.#leaks = new LeakDetection(options.reliability.leakDetectionInterval, logger, telemetry);
  }

  /** Begins the jobs that the settings ask for. To be called once. @param probes look for leaks beside those of the coordinator */
  start(probes: readonly LeakProbe[]): void {
    const { coordinator, options } = this.parts;
    const { enabled, resourceLeakDetection } = options.reliability;
    this.#cleanup.start();
    this.#refresh.start();
    this.reconciler.start();
    this.#leaks.watch([...probes, ...(coordinator.selfCheck?.leakProbes() ?? [])]);
    if (enabled && resourceLeakDetection) this.#leaks.start();
  }

  /** Ends it; a run under way goes on to its end. */
  stop(): void {
    this.#cleanup.stop();
    this.#refresh.stop();
    this.reconciler.stop();
    this.#leaks.stop();
  }
}

/**
 * Moves quiet clients along. A client without events for as long as the log keeps entries would come back with an id that
 * is too old to prove that it missed nothing. The job gives it the present position, with the event `sse.position`.
 */
export class CursorRefresh extends Periodic {
  /** Runs twice in the time that entries are kept. @param historyTtl milliseconds that the log keeps an entry */
  constructor(
    private readonly store: ConnectionStore,
    private readonly log: Pick<EventLog, 'lastPosition'>,
    historyTtl: number,
  ) {
    super(() => void this.run(), { everyMs: historyTtl / 2 });
  }

  /** One pass over the store. Returns how many clients it moved. */
  run(): number {
    // What may be missing is after it: a subscription that is away at this moment does not keep its clients back.
    const position = this.log.lastPosition();
    if (position === undefined) return 0;
    const frame = { bytes: encodePosition(formatCursor(position)) };
    let moved = 0;
    for (const connection of [...this.store.connections()]) {
      const { state, fencingToken, sendBufferBytes, ownIds } = connection;
      // A connection without a fencing token is unknown to the cluster: it may have missed entries. A slow one gets events soon.
      if (state.kind !== 'open' || fencingToken === undefined || sendBufferBytes > 0 || ownIds) continue;
      if (connection.moveTo(position, frame)) moved += 1;
    }
    return moved;
  }
}

/** Removes connections of this node whose sockets have taken nothing for `cleanup.connectionTtl`. */
export class ExpiryCleanup extends Periodic {
  constructor(
    private readonly store: ConnectionStore,
    private readonly settings: ResolvedSseOptions['cleanup'],
    private readonly logger: Logger,
    private readonly telemetry: Pick<MaintenanceTelemetry, 'expiring'>,
  ) {
    super(() => void this.run(), { everyMs: settings.interval });
  }

  /** Runs every `cleanup.interval` until {@link stop}; does nothing when the cleanup is off. */
  override start(): void {
    if (this.settings.enabled) super.start();
  }

  /** One pass over the store. Returns how many connections it removed. */
  run(): number {
    return this.telemetry.expiring('connection', () => this.#removeExpired());
  }

  #removeExpired(): number {
    const oldest = performance.now() - this.settings.connectionTtl;
    const expired = [...this.store.connections()].filter(({ lastProgressAt }) => lastProgressAt < oldest);
    for (const connection of expired) connection.close('idle');
    if (expired.length > 0) this.logger.info('expired connections removed', { count: expired.length });
    return expired.length;
  }
}

/**
 * Looks for things in memory without an owner, and releases them. The parts of one thing end one after the other, so that
 * only a suspect of two looks in a row is a leak.
 */
export class LeakDetection extends Periodic {
  readonly #probes: LeakProbe[] = [];
  #suspects = new Map<LeakProbe, ReadonlySet<unknown>>();

  /** @param interval milliseconds between two looks */
  constructor(
    interval: number,
    private readonly logger: Logger,
    private readonly telemetry: Pick<MaintenanceTelemetry, 'leaked'>,
  ) {
    super(() => void this.run(), { everyMs: interval });
  }

  /** Adds what is to be looked at. */
  watch(probes: Iterable<LeakProbe>): void {
    this.#probes.push(...probes);
  }

  override stop(): void {
    super.stop();
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

type Scope = ReconcileRequest['scope'];

const MAX_REPAIRS = 1_000;
const SETTLE_MS = 2_000;
const SAMPLE = 200;
/** A run out of turn begins within so many milliseconds, at random, so that nodes do not ask all at once. */
const SOON_MS = 1_000;
/** How much an interval varies, for the same reason. */
const JITTER = 0.1;

interface ReconcilerParts {
  readonly coordinator: Pick<ClusterCoordinator, 'status' | 'selfCheck'>;
  readonly logger: Logger;
  readonly telemetry: Pick<MaintenanceTelemetry, 'reconciling'>;
  readonly onInconsistency?: InconsistencyListener | undefined;
}

/**
 * Compares this node with the cluster every `consistency.statusCheckInterval`, and some routes of all nodes every
 * `consistency.routeValidationInterval`. Under `auto_correct` it repairs what it finds, at most 1,000 differences at a
 * time; under `fail_fast` it repairs nothing, and the node is in trouble until a later run of the same kind finds nothing.
 *
 * One run at a time. A run in which the cluster failed, or this node lost its lease, changes nothing about the trouble. It
 * calls the cluster without a policy, since the next run repeats it.
 */
export class Reconciler {
  readonly #troubles = new Map<Scope, string>();
  readonly #jobs: Readonly<Record<Scope, Periodic>>;
  #running: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly settings: ResolvedSseOptions['consistency'],
    private readonly parts: ReconcilerParts,
  ) {
    const job = (scope: Scope, everyMs: number): Periodic =>
      new Periodic(() => this.run(scope), { everyMs, jitter: JITTER });
    this.#jobs = {
      node: job('node', settings.statusCheckInterval),
      cluster: job('cluster', settings.routeValidationInterval),
    };
  }

  /** Under `fail_fast`, the differences that make the node unready; `undefined` when there are none, or nothing is known. */
  get trouble(): string | undefined {
    const [trouble] = this.#troubles.values();
    return trouble;
  }

  /**
   * Runs at its intervals until {@link stop}. Does nothing when `consistency.enabled` is off, or the coordinator has no
   * self-check. Twice is harmless.
   */
  start(): void {
    if (!this.settings.enabled || this.parts.coordinator.selfCheck === undefined) return;
    for (const job of Object.values(this.#jobs)) job.start();
  }

  /** A run under way goes on to its end. */
  stop(): void {
    for (const job of Object.values(this.#jobs)) job.stop();
  }

  /** Something happened that may concern this node: it is compared before long, out of turn. */
  runSoon(): void {
    this.#jobs.node.runWithin(Math.random() * SOON_MS);
  }

  /** One run, after the one under way, if any. Never rejects. */
  run(scope: Scope): Promise<ReconcileReport> {
    const run = this.#running.then(() => this.#run(scope));
    this.#running = run;
    return run;
  }

  async #run(scope: Scope): Promise<ReconcileReport> {
    const { coordinator, telemetry, logger } = this.parts;
    const { reachable, detail = 'the cluster cannot be reached' } = coordinator.status();
    // An outage is reported elsewhere; a span for each run in it would say nothing more.
    if (!reachable) return nothingKnown(detail);
    const { selfCheck } = coordinator;
    if (selfCheck === undefined) return nothingKnown('the coordinator has no self-check');
    try {
      const report = await telemetry.reconciling(() => selfCheck.reconcile(this.#request(scope)));
      this.#conclude(scope, report);
      return report;
    } catch (error) {
      logger.debug('this node could not be compared with the cluster', { scope, error });
      return nothingKnown(error instanceof Error ? error.message : String(error));
    }
  }

  #request(scope: Scope): ReconcileRequest {
    const { inconsistencyHandlingStrategy: strategy, interNodeSyncEnabled } = this.settings;
    return {
      scope,
      maxRepairs: strategy === 'auto_correct' ? MAX_REPAIRS : 0,
      settle: SETTLE_MS,
      sample: SAMPLE,
      notify: interNodeSyncEnabled,
    };
  }

  #conclude(scope: Scope, { found, repairs, findings, unknown }: ReconcileReport): void {
    const { logger } = this.parts;
    if (unknown !== undefined) {
      logger.debug('this node could not be compared with the cluster', { scope, reason: unknown });
    }
    if (findings.length > 0) {
      logger.warn('this node and the cluster differ', { scope, found, repairs });
    }
    for (const finding of findings) this.#report(finding);
    if (unknown !== undefined || this.settings.inconsistencyHandlingStrategy !== 'fail_fast') return;
    if (findings.length === 0) this.#troubles.delete(scope);
    else this.#troubles.set(scope, inWords(found));
  }

  #report(finding: ReconcileReport['findings'][number]): void {
    try {
      this.parts.onInconsistency?.(finding);
    } catch (error) {
      this.parts.logger.error('onInconsistency failed', { error });
    }
  }
}

function nothingKnown(unknown: string): ReconcileReport {
  return { checked: 0, found: {}, repairs: {}, findings: [], ms: 0, unknown };
}

function inWords(found: ReconcileReport['found']): string {
  const counts = Object.entries(found).map(([kind, count]) => `${count} ${kind}`);
  return `this node and the cluster differ (${counts.join(', ')})`;
}

/** What the connections of a node are in. */
interface ProbedParts {
  readonly store: ConnectionStore;
  readonly environment: {
    readonly wheel: HeartbeatWheel | undefined;
    readonly watchdog: Watchdog;
  };
}

/** Finds connections whose socket is gone without an event, and timers of connections that have ended. */
export function connectionProbes({ store, environment }: ProbedParts): LeakProbe[] {
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

function isGone(connection: LocalConnection): boolean {
  return connection.state.kind === 'open' && presentOutcome(connection) === 'not-connected';
}

/** All that the timers visit are connections, although they see less of them. */
function hasEnded(connection: object): boolean {
  return (connection as Partial<LocalConnection>).state?.kind === 'closed';
}
