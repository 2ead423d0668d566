import type { Attributes } from '@opentelemetry/api';
import type { SendResult } from '../contracts/receipt.js';
import type { Scope } from '../contracts/telemetry.js';
import { ATTRIBUTE } from './names.js';

type Outcome = SendResult['outcome'];

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
 * Growing counts by scope and outcome, and by event name for the names it is made with; all others are counted without
 * one. Adding costs an array access: handing each event to a metrics SDK would cost as much as sending it.
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

  /** Hands out each count that is not zero with its labels. */
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
