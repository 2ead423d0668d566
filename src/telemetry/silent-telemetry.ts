import type {
  ConnectionTelemetry,
  EventTelemetry,
  Telemetry,
  UpkeepTelemetry,
} from '../contracts/telemetry.js';

/** Tells nobody, and counts nothing: `telemetry.enabled: false`. */
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

  readonly upkeep: UpkeepTelemetry = {
    cleaning: (_kind, work) => work(),
    checking: work => work(),
    draining: work => work(),
    leaked: nothing,
    retrying: nothing,
    refusing: nothing,
    commanded: nothing,
  };

  observe(): () => void {
    return nothing;
  }
}

function nothing(): void {
  // Nobody listens.
}
