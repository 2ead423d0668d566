import type { NodeGauges, TrafficCounts } from '../contracts/telemetry.js';
import { LabelCount } from './label-count.js';
import { ATTRIBUTE } from './names.js';
import { OutcomeGrid } from './outcome-grid.js';
import { RefusalCount } from './refusal-count.js';

/**
 * Everything a node counts, kept here and read when somebody looks: nothing is lost that happened before an SDK started,
 * and what is counted often costs next to nothing.
 */
export class NodeFigures {
  readonly traffic: TrafficCounts = { bytesWritten: 0, eventsDropped: 0 };
  readonly sent: OutcomeGrid;
  readonly deliveries = new OutcomeGrid();
  readonly refused = new LabelCount(ATTRIBUTE.errorType);
  readonly closed = new LabelCount(ATTRIBUTE.closeReason);
  readonly resets = new LabelCount(ATTRIBUTE.resetReason);
  readonly removed = new LabelCount(ATTRIBUTE.cleanupKind);
  readonly repairs = new LabelCount(ATTRIBUTE.repairKind);
  readonly leaks = new LabelCount(ATTRIBUTE.leakKind);
  readonly retries = new LabelCount(ATTRIBUTE.operation);
  readonly refusals = new RefusalCount();
  opened = 0;
  takeovers = 0;
  replayed = 0;
  gauges: NodeGauges | undefined;
  #lag = 0;

  /** @param eventNames the events that are counted by name */
  constructor(eventNames: readonly string[]) {
    this.sent = new OutcomeGrid(eventNames);
  }

  /** Notes how long an entry of the log took to get here, in milliseconds; the clocks of two machines may disagree. */
  lagged(ms: number): void {
    if (ms > this.#lag) this.#lag = ms;
  }

  /** The longest of them since the last call. */
  takeLag(): number {
    const lag = this.#lag;
    this.#lag = 0;
    return lag;
  }
}
