import type { Cursor } from '../contracts/events.js';
import type {
  ConnectionTelemetry,
  EventTelemetry,
  MaintenanceTelemetry,
  NodeGauges,
  Telemetry,
  TelemetryWatcher,
  TrafficCounts,
} from '../contracts/telemetry.js';
import { OpenConnectionTelemetry } from './connections.js';
import { OpenEventTelemetry } from './events.js';
import { NodeFigures } from './figures.js';
import { MeterWatch } from './instruments.js';
import { OpenMaintenanceTelemetry } from './maintenance.js';
import { type Reporting, type ServerAddress, SpanRecorder } from './spans.js';
import { TraceCarrier } from './trace-carrier.js';

/** Settings of {@link OpenTelemetry}. */
interface OpenTelemetrySettings {
  readonly nodeId: string;
  /** Keeps connection ids out of spans. */
  readonly hideConnectionIds: boolean;
  /** The events that are counted by name. */
  readonly eventNames: readonly string[];
  /** The id of an entry of the log, as receipts and clients have it. */
  readonly formatId: (position: Cursor) => string;
  /** Takes baggage from node to node. */
  readonly baggage: boolean;
  /** Names the spans of publications and their deliveries after their topics. */
  readonly topicsInSpanNames: boolean;
  /** Address of the server through which nodes meet, where there is one. */
  readonly server?: ServerAddress | undefined;
}

// An exported sum stays at its last value: a node that has stopped therefore reports zero last.
const STOPPED: NodeGauges = {
  connections: () => 0,
  sendBufferBytes: () => 0,
  pendingSends: () => 0,
  circuit: () => 'closed',
};

/**
 * Records in OpenTelemetry through its API alone: the application brings the SDK, at any time. Without an SDK a call costs
 * the read of a global and a few additions.
 */
export class OpenTelemetry implements Telemetry {
  readonly connections: OpenConnectionTelemetry;
  readonly events: OpenEventTelemetry;
  readonly maintenance: OpenMaintenanceTelemetry;
  readonly #figures: NodeFigures;
  readonly #meters: MeterWatch;
  readonly #reporting: Reporting;

  constructor(settings: OpenTelemetrySettings) {
    const { nodeId, hideConnectionIds, server } = settings;
    this.#figures = new NodeFigures(settings.eventNames);
    this.#meters = new MeterWatch(this.#figures, nodeId);
    const reporting: Reporting = {
      figures: this.#figures,
      meters: this.#meters,
      spans: new SpanRecorder(nodeId, hideConnectionIds, server),
      watcher: undefined,
    };
    this.#reporting = reporting;
    const carrier = new TraceCarrier(settings.baggage);
    this.connections = new OpenConnectionTelemetry(reporting, carrier);
    this.events = new OpenEventTelemetry(reporting, carrier, settings);
    this.maintenance = new OpenMaintenanceTelemetry(reporting);
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

  watch(watcher: TelemetryWatcher | undefined): boolean {
    this.#reporting.watcher = watcher;
    return true;
  }
}

/** Records nothing: `telemetry.enabled: false`. */
export class SilentTelemetry implements Telemetry {
  readonly traffic = { bytesWritten: 0, eventsDropped: 0 };

  readonly connections: ConnectionTelemetry = {
    receiving: (_headers, work) => work(),
    opening: (_subject, work) => work(),
    refused: nothing,
    admitted: nothing,
    replaying: (_connectionId, work) => work(),
    reset: nothing,
    handling: (_connection, work) => work(),
    commanding: (_command, _connectionId, work) => work(),
    cause: () => undefined,
    closing: (_trace, work) => work(),
    stopped: nothing,
  };

  readonly events: EventTelemetry = {
    sending: (_subject, work) => work(),
    routing: (_subject, work) => work(undefined),
    broadcasting: (_event, work) => work(),
    publishing: (_to, _event, work) => work(undefined),
    appending: (_event, work) => work(undefined),
    sent: nothing,
    delivering: (_message, work) => work(),
    fanningOut: (_publication, work) => work(),
  };

  readonly maintenance: MaintenanceTelemetry = {
    expiring: (_kind, work) => work(),
    reconciling: work => work(),
    draining: work => work(),
    leaked: nothing,
    retrying: nothing,
    refusing: nothing,
    quietly: work => work(),
    commanded: nothing,
  };

  observe(): () => void {
    return nothing;
  }

  watch(): boolean {
    return false;
  }
}

function nothing(): void {
  // Telemetry is off.
}
