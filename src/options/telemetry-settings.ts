/** What the node tells OpenTelemetry; without an SDK it tells nobody. */
export interface TelemetrySettings {
  /** Whether anything is told at all. Default true. */
  readonly enabled: boolean;
  /** Keeps connection ids, and error messages that may hold one, out of spans. Default false. */
  readonly hideConnectionIds: boolean;
  /**
   * Event names that metrics tell apart, at most 100; all others are counted together, since nobody
   * bounds their number. Default none.
   */
  readonly eventNames: readonly string[];
  /** Whether baggage travels with events from node to node. Default false. */
  readonly baggage: boolean;
}
