import { ATTRIBUTE } from './names.js';

/** How a metric is read: a growing sum, a sum that goes up and down, a value of the moment, or a distribution. */
type MetricKind = 'counter' | 'updown' | 'gauge' | 'histogram';

/** One metric: its name, its unit and the attributes that separate its series, besides the node. */
export interface MetricDefinition {
  readonly name: `sse.${string}`;
  readonly kind: MetricKind;
  /** As UCUM writes it. */
  readonly unit: string;
  readonly description: string;
  /** Each has few values. Histograms have these alone, all others {@link ATTRIBUTE.nodeId} as well. */
  readonly attributes: readonly string[];
  /** Upper bounds that suit a histogram's values. */
  readonly buckets?: readonly number[];
}

const MILLISECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const LIVES = [1, 5, 15, 60, 300, 900, 1800, 3600, 14_400, 43_200, 86_400];

/** Every metric of this library. */
export const METRICS = {
  connectionsActive: {
    name: 'sse.connections.active',
    kind: 'updown',
    unit: '{connection}',
    description: 'Connections that are open',
    attributes: [],
  },
  connectionsOpened: {
    name: 'sse.connections.opened',
    kind: 'counter',
    unit: '{connection}',
    description: 'Connections that were let in',
    attributes: [],
  },
  connectionsRefused: {
    name: 'sse.connections.refused',
    kind: 'counter',
    unit: '{connection}',
    description: 'Requests for a stream that were refused or left before it was open',
    attributes: [ATTRIBUTE.errorType],
  },
  connectionsClosed: {
    name: 'sse.connections.closed',
    kind: 'counter',
    unit: '{connection}',
    description: 'Connections that ended after they had been let in',
    attributes: [ATTRIBUTE.closeReason],
  },
  connectionDuration: {
    name: 'sse.connection.duration',
    kind: 'histogram',
    unit: 's',
    description: 'How long connections lived',
    attributes: [ATTRIBUTE.closeReason],
    buckets: LIVES,
  },
  takeovers: {
    name: 'sse.takeovers',
    kind: 'counter',
    unit: '{takeover}',
    description: 'Connections of this node whose id a newer connection took over',
    attributes: [],
  },
  eventsSent: {
    name: 'sse.events.sent',
    kind: 'counter',
    unit: '{event}',
    description: 'Events the application sent on this node, by what is known of them',
    attributes: [ATTRIBUTE.scope, ATTRIBUTE.outcome, ATTRIBUTE.eventName],
  },
  deliveries: {
    name: 'sse.deliveries',
    kind: 'counter',
    unit: '{delivery}',
    description:
      'Events handed to connections of this node by a broadcast, a topic, a mailbox, a resumable source or another node',
    attributes: [ATTRIBUTE.scope, ATTRIBUTE.outcome],
  },
  deliveryLatency: {
    name: 'sse.delivery.latency',
    kind: 'histogram',
    unit: 's',
    description: 'From send to the write on the receiving node, once per event and node, by both clocks',
    attributes: [ATTRIBUTE.scope],
    buckets: MILLISECONDS,
  },
  routeDuration: {
    name: 'sse.route.duration',
    kind: 'histogram',
    unit: 's',
    description: 'From asking the cluster to deliver to its answer, retries included',
    attributes: [ATTRIBUTE.outcome],
    buckets: MILLISECONDS,
  },
  sendsPending: {
    name: 'sse.sends.pending',
    kind: 'updown',
    unit: '{send}',
    description: 'Sends that wait for an answer of the cluster',
    attributes: [],
  },
  bytesWritten: {
    name: 'sse.bytes.written',
    kind: 'counter',
    unit: 'By',
    description: 'Bytes handed to sockets',
    attributes: [],
  },
  sendBufferBytes: {
    name: 'sse.send_buffer.bytes',
    kind: 'updown',
    unit: 'By',
    description: 'Bytes that wait for slow clients',
    attributes: [],
  },
  sendBufferDropped: {
    name: 'sse.send_buffer.dropped',
    kind: 'counter',
    unit: '{event}',
    description: 'Events that a full send buffer cost',
    attributes: [],
  },
  replayEntries: {
    name: 'sse.replay.entries',
    kind: 'counter',
    unit: '{entry}',
    description: 'Entries of the log written to clients that came back, or for whom they waited',
    attributes: [],
  },
  replayResets: {
    name: 'sse.replay.resets',
    kind: 'counter',
    unit: '{reset}',
    description: 'Gaps that clients got a reset for',
    attributes: [ATTRIBUTE.resetReason],
  },
  cleanupRemoved: {
    name: 'sse.cleanup.removed',
    kind: 'counter',
    unit: '{item}',
    description: 'What cleanups removed',
    attributes: [ATTRIBUTE.cleanupKind],
  },
  consistencyRepairs: {
    name: 'sse.consistency.repairs',
    kind: 'counter',
    unit: '{repair}',
    description: 'Differences between this node and the cluster that were repaired',
    attributes: [ATTRIBUTE.repairKind],
  },
  leaks: {
    name: 'sse.leaks',
    kind: 'counter',
    unit: '{leak}',
    description: 'Resources that had no owner any more',
    attributes: [ATTRIBUTE.leakKind],
  },
  redisCommandDuration: {
    name: 'sse.redis.command.duration',
    kind: 'histogram',
    unit: 's',
    description: 'From a command to its answer, or its failure',
    attributes: [ATTRIBUTE.redisCommand, ATTRIBUTE.errorType],
    buckets: MILLISECONDS,
  },
  retries: {
    name: 'sse.retries',
    kind: 'counter',
    unit: '{retry}',
    description: 'Calls to the cluster that were repeated',
    attributes: [ATTRIBUTE.operation],
  },
  refusals: {
    name: 'sse.refusals',
    kind: 'counter',
    unit: '{call}',
    description: 'Calls to the cluster that the policy refused or gave up',
    attributes: [ATTRIBUTE.operation, ATTRIBUTE.refusalReason],
  },
  circuitState: {
    name: 'sse.circuit.state',
    kind: 'gauge',
    unit: '{state}',
    description: 'Circuit of each kind of call: 0 closed, 1 half-open, 2 open',
    attributes: [ATTRIBUTE.operation],
  },
  feedLag: {
    name: 'sse.feed.lag',
    kind: 'gauge',
    unit: 's',
    description: 'Longest time since the last look from the log to this node, by both clocks',
    attributes: [],
  },
  eventLoopDelay: {
    name: 'sse.eventloop.delay',
    kind: 'gauge',
    unit: 's',
    description: 'Delay of the event loop since the last look: mean, p99 and max',
    attributes: [ATTRIBUTE.statistic],
  },
} as const satisfies Record<string, MetricDefinition>;

/** A metric that is recorded value by value. */
export type HistogramKey = {
  [K in keyof typeof METRICS]: (typeof METRICS)[K]['kind'] extends 'histogram' ? K : never;
}[keyof typeof METRICS];

/** A metric that is read when the meter collects. */
export type ObservableKey = Exclude<keyof typeof METRICS, HistogramKey>;
