import type { NodeGauges, Telemetry, TrafficCounts } from '../contracts/telemetry.js';
import { MeterWatch } from './meter-watch.js';
import { NodeFigures } from './node-figures.js';
import { OpenConnectionTelemetry } from './open-connection-telemetry.js';
import { OpenEventTelemetry } from './open-event-telemetry.js';
import { OpenUpkeepTelemetry } from './open-upkeep-telemetry.js';
import type { Reporting } from './reporting.js';
import { SpanRecorder } from './span-recorder.js';
import { TraceCarrier } from './trace-carrier.js';

/** What is told, and how much of it. */
export interface OpenTelemetrySettings {
  readonly nodeId: string;
  /** Keeps connection ids out of spans. */
  readonly hideConnectionIds: boolean;
  /** The events that are counted by name. */
  readonly eventNames: readonly string[];
  /** Takes baggage from node to node. */
  readonly baggage: boolean;
}

// A sum that a meter is told no more stays as it was: the last word of a node that stopped is zero.
const STOPPED: NodeGauges = {
  connections: () => 0,
  outboxBytes: () => 0,
  pendingSends: () => 0,
  circuit: () => 'closed',
};

/**
 * Tells OpenTelemetry, through its API alone: the application brings the SDK, at any time. Without one, a call costs a
 * look at a global and the adding of a few numbers.
 */
export class OpenTelemetry implements Telemetry {
  readonly connections: OpenConnectionTelemetry;
  readonly events: OpenEventTelemetry;
  readonly upkeep: OpenUpkeepTelemetry;
  readonly #figures: NodeFigures;
  readonly #meters: MeterWatch;

  constructor({ nodeId, hideConnectionIds, eventNames, baggage }: OpenTelemetrySettings) {
    this.#figures = new NodeFigures(eventNames);
    this.#meters = new MeterWatch(this.#figures, nodeId);
    const reporting: Reporting = {
      figures: this.#figures,
      meters: this.#meters,
      spans: new SpanRecorder(nodeId, hideConnectionIds),
    };
    this.connections = new OpenConnectionTelemetry(reporting);
    this.events = new OpenEventTelemetry(reporting, new TraceCarrier(baggage));
    this.upkeep = new OpenUpkeepTelemetry(reporting);
  }

  get traffic(): TrafficCounts {
    return this.#figures.traffic;
  }

  observe(gauges: NodeGauges): () => void {
    this.#figures.gauges = gauges;
    // Also while nothing happens an SDK that has started is to see the node.
    this.#meters.look();
    return () => {
      this.#figures.gauges = STOPPED;
      this.#meters.close();
    };
  }
}
