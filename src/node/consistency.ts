import type { ClusterCoordinator } from '../contracts/cluster.js';
import type { Logger } from '../contracts/logger.js';
import type {
  InconsistencyListener,
  ReconcileReport,
  ReconcileRequest,
} from '../contracts/self-check.js';
import type { MaintenanceTelemetry } from '../contracts/telemetry.js';
import type { ConsistencySettings } from '../options/sse-options.js';

type Scope = ReconcileRequest['scope'];

const MAX_REPAIRS = 1_000;
const SETTLE_MS = 2_000;
const SAMPLE = 200;
/** Milliseconds within which a check out of turn begins, by chance, so that nodes told together do not ask together. */
const SOON_MS = 1_000;
/** How much an interval varies, for the same reason. */
const JITTER = 0.1;

/** What a check needs beside its settings. */
interface ConsistencyCheckParts {
  readonly coordinator: Pick<ClusterCoordinator, 'status' | 'selfCheck'>;
  readonly logger: Logger;
  readonly telemetry: Pick<MaintenanceTelemetry, 'checking'>;
  readonly onInconsistency?: InconsistencyListener | undefined;
}

/**
 * Compares this node with the cluster every `consistency.statusCheckInterval`, and some routes of all nodes every
 * `consistency.routeValidationInterval`. Under `auto_correct` it repairs what it finds, at most 1,000 differences at a
 * time; under `fail_fast` it repairs nothing, and the node is in trouble until a later check of the same kind finds nothing.
 *
 * One check runs at a time. A check in which the cluster failed, or this node lost its place in it, says nothing: neither
 * does it make trouble nor end it. It calls the cluster without a policy of its own, since it is its own next try.
 */
export class ConsistencyCheck {
  readonly #troubles = new Map<Scope, string>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #running: Promise<unknown> = Promise.resolve();
  #started = false;

  constructor(
    private readonly settings: ConsistencySettings,
    private readonly parts: ConsistencyCheckParts,
  ) {}

  get trouble(): string | undefined {
    const [trouble] = this.#troubles.values();
    return trouble;
  }

  /** Checks at its intervals until {@link stop}; does nothing when `consistency.enabled` is off or the coordinator has no self-check. Twice is harmless. */
  start(): void {
    if (this.#started || !this.settings.enabled) return;
    if (this.parts.coordinator.selfCheck === undefined) return;
    this.#started = true;
    this.#plan('node', this.settings.statusCheckInterval);
    this.#plan('cluster', this.settings.routeValidationInterval);
  }

  /** A check that runs goes on to its end. */
  stop(): void {
    this.#started = false;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  checkSoon(): void {
    if (!this.#started || this.#timers.has('soon')) return;
    this.#wait('soon', Math.random() * SOON_MS, () => void this.run('node'));
  }

  /** One check, after the one that runs, if any. Never rejects. */
  run(scope: Scope): Promise<ReconcileReport> {
    const check = this.#running.then(() => this.#run(scope));
    this.#running = check;
    return check;
  }

  async #run(scope: Scope): Promise<ReconcileReport> {
    const { coordinator, telemetry, logger } = this.parts;
    const { reachable, detail = 'the cluster cannot be reached' } = coordinator.status();
    // An outage is told elsewhere; a span for each look at it would say nothing more.
    if (!reachable) return nothingKnown(detail);
    const { selfCheck } = coordinator;
    if (selfCheck === undefined) return nothingKnown('the coordinator has no self-check');
    try {
      const report = await telemetry.checking(() => selfCheck.reconcile(this.#request(scope)));
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
    for (const finding of findings) this.#tell(finding);
    if (unknown !== undefined || this.settings.inconsistencyHandlingStrategy !== 'fail_fast')
      return;
    if (findings.length === 0) this.#troubles.delete(scope);
    else this.#troubles.set(scope, inWords(found));
  }

  #tell(finding: ReconcileReport['findings'][number]): void {
    try {
      this.parts.onInconsistency?.(finding);
    } catch (error) {
      this.parts.logger.error('onInconsistency failed', { error });
    }
  }

  #plan(scope: Scope, interval: number): void {
    const wait = interval * (1 - JITTER + 2 * JITTER * Math.random());
    this.#wait(scope, wait, () => {
      void this.run(scope).then(() => {
        if (this.#started) this.#plan(scope, interval);
      });
    });
  }

  #wait(name: string, ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(name);
      work();
    }, ms).unref();
    this.#timers.set(name, timer);
  }
}

function nothingKnown(unknown: string): ReconcileReport {
  return { checked: 0, found: {}, repairs: {}, findings: [], ms: 0, unknown };
}

function inWords(found: ReconcileReport['found']): string {
  const counts = Object.entries(found).map(([kind, count]) => `${count} ${kind}`);
  return `this node and the cluster differ (${counts.join(', ')})`;
}
