import type { Attributes } from '@opentelemetry/api';
import type { Outcome } from '../contracts/events.js';
import type { OperationKind, RefusalReason } from '../contracts/policy.js';
import type { NodeGauges, Scope, TrafficCounts } from '../contracts/telemetry.js';
import { ATTRIBUTE } from './names.js';

/**
 * The counts of one node. They are read when the meter collects: counts from before the start of an SDK are kept, and
 * counting costs an addition.
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

  /** Records how long an entry of the log took to this node, in milliseconds; the clocks of two machines may differ. */
  lagged(ms: number): void {
    if (ms > this.#lag) this.#lag = ms;
  }

  /** The longest lag since the last call. */
  takeLag(): number {
    const lag = this.#lag;
    this.#lag = 0;
    return lag;
  }
}

const MAX_LABELS = 64;
const OTHER = 'other';

/** A growing count for each value of one label. Values beyond the first 64 are counted together, as `other`. */
export class LabelCount {
  readonly #counts = new Map<string, number>();

  /** @param attribute the label's name */
  constructor(private readonly attribute: string) {}

  add(label: string, count = 1): void {
    const known = this.#counts.has(label) || this.#counts.size < MAX_LABELS;
    const key = known ? label : OTHER;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
  }

  /** Reports each count with its label. */
  read(observe: (count: number, labels: Attributes) => void): void {
    for (const [label, count] of this.#counts) observe(count, { [this.attribute]: label });
  }
}

const SCOPES: Readonly<Record<Scope, number>> = {
  connection: 0,
  source: 1,
  node: 2,
  topic: 3,
  cluster: 4,
};
const OUTCOMES: Readonly<Record<Outcome, number>> = {
  delivered: 0,
  buffered: 1,
  stored: 2,
  routed: 3,
  'not-connected': 4,
  rejected: 5,
  unknown: 6,
  unavailable: 7,
};
const SCOPE_NAMES = Object.keys(SCOPES);
const OUTCOME_NAMES = Object.keys(OUTCOMES);
const CELLS = SCOPE_NAMES.length * OUTCOME_NAMES.length;

/**
 * Growing counts by scope and outcome, and by event name for the names given to the constructor; other events are counted
 * without a name. Adding costs an array access; a call of a metrics SDK per event would cost as much as the send.
 */
export class OutcomeGrid {
  readonly #cells: Float64Array;
  readonly #events: ReadonlyMap<string, number>;

  constructor(private readonly eventNames: readonly string[] = []) {
    this.#cells = new Float64Array(CELLS * (eventNames.length + 1));
    this.#events = new Map(eventNames.map((name, index) => [name, (index + 1) * CELLS]));
  }

  add(scope: Scope, outcome: Outcome, count = 1, event?: string): void {
    const named = event !== undefined && this.eventNames.length > 0;
    const base = named ? (this.#events.get(event) ?? 0) : 0;
    const cell = base + SCOPES[scope] * OUTCOME_NAMES.length + OUTCOMES[outcome];
    this.#cells[cell] = (this.#cells[cell] ?? 0) + count;
  }

  /** Reports each count above zero with its labels. */
  read(observe: (count: number, labels: Attributes) => void): void {
    this.#cells.forEach((count, cell) => {
      if (count > 0) observe(count, this.#labels(cell));
    });
  }

  #labels(cell: number): Attributes {
    const within = cell % CELLS;
    const event = this.eventNames[Math.floor(cell / CELLS) - 1];
    return {
      [ATTRIBUTE.scope]: SCOPE_NAMES[Math.floor(within / OUTCOME_NAMES.length)],
      [ATTRIBUTE.outcome]: OUTCOME_NAMES[within % OUTCOME_NAMES.length],
      ...(event === undefined ? {} : { [ATTRIBUTE.eventName]: event }),
    };
  }
}

/** A growing count for each kind of call and each reason of a refusal. */
class RefusalCount {
  readonly #counts = new Map<OperationKind, Map<RefusalReason, number>>();

  add(kind: OperationKind, reason: RefusalReason): void {
    const reasons = this.#counts.get(kind) ?? new Map<RefusalReason, number>();
    this.#counts.set(kind, reasons);
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }

  /** Reports each count with its labels. */
  read(observe: (count: number, labels: Attributes) => void): void {
    for (const [kind, reasons] of this.#counts) {
      for (const [reason, count] of reasons) {
        observe(count, { [ATTRIBUTE.operation]: kind, [ATTRIBUTE.refusalReason]: reason });
      }
    }
  }
}
