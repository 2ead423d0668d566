/** Name and version under which everything is reported. */
export const SCOPE = { name: 'distributed-sse', version: '0.1.0' } as const;

/** All of them. {@link SpanName} says when each is recorded. */
export const SPAN_NAMES = [
  'sse.connect',
  'sse.replay',
  'sse.close',
  'sse.send',
  'sse.route',
  'sse.deliver',
  'sse.broadcast',
  'sse.publish',
  'sse.cleanup',
  'sse.consistency',
  'sse.drain',
  'sse.command',
] as const;

/**
 * A span of this library.
 *
 * | span | kind | when |
 * |---|---|---|
 * | `sse.connect` | INTERNAL; SERVER without an HTTP span | a connection opens, or is refused |
 * | `sse.replay` | INTERNAL | the node writes missed entries, a mailbox, or a resumable source from its start to a client |
 * | `sse.close` | INTERNAL | a connection ends; a trace of its own, linked to its `sse.connect` and to the span that caused the end |
 * | `sse.send` | PRODUCER | a send to one connection; on the node itself only inside a trace |
 * | `sse.route` | CLIENT | the cluster is asked to deliver, or to keep a durable send; each repetition is an event `sse.retry` |
 * | `sse.deliver` | CONSUMER | a node gets a message or a publication whose sender recorded a trace |
 * | `sse.broadcast` | PRODUCER | a broadcast, on this node or to the cluster |
 * | `sse.publish` | PRODUCER | a publication to a topic; the end of a resumable source |
 * | `sse.cleanup` | INTERNAL | one run of a cleanup that removed something, or failed |
 * | `sse.consistency` | INTERNAL | one comparison of the node with the cluster |
 * | `sse.drain` | INTERNAL | the node sends its clients away |
 * | `sse.command` | CLIENT | a question or a command to the cluster: `locate`, `count`, `nodes`, `presence`, `position`, `subscribe`, `unsubscribe`, `close`, `close-all`, `revoke`, `end-source`; none where the node answers itself |
 */
export type SpanName = (typeof SPAN_NAMES)[number];

/**
 * Names of attributes. Those that do not begin with `sse.` are of the semantic conventions (messaging, incubating there:
 * https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/; errors and servers, stable), copied because the package
 * that holds them promises nothing for the incubating ones.
 */
export const ATTRIBUTE = {
  nodeId: 'sse.node.id',
  ownerNodeId: 'sse.owner.node.id',
  connectionId: 'sse.connection.id',
  eventName: 'sse.event.name',
  topic: 'sse.topic',
  topics: 'sse.topics',
  sourceKey: 'sse.source.key',
  scope: 'sse.scope',
  command: 'sse.command.name',
  missingNodes: 'sse.nodes.missing',
  outcome: 'sse.outcome',
  duplicate: 'sse.duplicate',
  fanOutDelivered: 'sse.fanout.delivered',
  fanOutBuffered: 'sse.fanout.buffered',
  fanOutRejected: 'sse.fanout.rejected',
  nodes: 'sse.nodes',
  connections: 'sse.connections',
  degraded: 'sse.degraded',
  closeReason: 'sse.close.reason',
  age: 'sse.connection.age',
  resetReason: 'sse.reset.reason',
  entries: 'sse.replay.entries',
  cleanupKind: 'sse.cleanup.kind',
  removed: 'sse.cleanup.removed',
  checked: 'sse.consistency.checked',
  found: 'sse.consistency.found',
  repairs: 'sse.consistency.repairs',
  repairKind: 'sse.repair.kind',
  leakKind: 'sse.leak.kind',
  operation: 'sse.operation',
  refusalReason: 'sse.refusal.reason',
  redisCommand: 'sse.redis.command',
  statistic: 'sse.statistic',
  errorType: 'error.type',
  serverAddress: 'server.address',
  serverPort: 'server.port',
  messagingSystem: 'messaging.system',
  messagingOperation: 'messaging.operation.name',
  messagingOperationType: 'messaging.operation.type',
  messagingMessageId: 'messaging.message.id',
  messagingDestination: 'messaging.destination.name',
  messagingTemporary: 'messaging.destination.temporary',
  messagingEnvelopeSize: 'messaging.message.envelope.size',
} as const;

/** How a metric is read: a growing sum, a sum that goes up and down, a value of the moment, or a distribution. */
type MetricKind = 'counter' | 'updown' | 'gauge' | 'histogram';

/** The row of a metric: its unit and the attributes that separate its series, besides the node. */
interface Row<K extends MetricKind = MetricKind> {
  readonly kind: K;
  /** As UCUM writes it. */
  readonly unit: string;
  readonly description: string;
  /** Each has few values. Histograms have these alone, all others {@link ATTRIBUTE.nodeId} as well. */
  readonly attributes: readonly string[];
  /** Upper bounds that suit a histogram's values. */
  readonly buckets?: readonly number[];
}

const rowsOf =
  <K extends MetricKind>(kind: K) =>
  (unit: string, description: string, ...attributes: readonly string[]): Row<K> => ({
    kind,
    unit,
    description,
    attributes,
  });
const counter = rowsOf('counter');
const updown = rowsOf('updown');
const gauge = rowsOf('gauge');
const histogram = rowsOf('histogram');
/** A histogram of seconds from half a millisecond to ten seconds. */
const milliseconds = (description: string, ...attributes: readonly string[]): Row<'histogram'> => ({
  ...histogram('s', description, ...attributes),
  buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
});

const LIVES = [1, 5, 15, 60, 300, 900, 1800, 3600, 14_400, 43_200, 86_400];

/** Every metric by its name. `figures.ts` has the values of those that are no histograms. */
const ROWS = {
  'sse.connections.active': updown('{connection}', 'Connections that are open'),
  'sse.connections.opened': counter('{connection}', 'Connections that were let in'),
  'sse.connections.refused': counter(
    '{connection}',
    'Requests for a stream that were refused or left before it was open',
    ATTRIBUTE.errorType,
  ),
  'sse.connections.closed': counter(
    '{connection}',
    'Connections that ended after they had been let in',
    ATTRIBUTE.closeReason,
  ),
  'sse.connection.duration': { ...histogram('s', 'How long connections lived', ATTRIBUTE.closeReason), buckets: LIVES },
  'sse.takeovers': counter('{takeover}', 'Connections of this node whose id a newer connection took over'),
  'sse.events.sent': counter(
    '{event}',
    'Events the application sent on this node, by what is known of them',
    ATTRIBUTE.scope,
    ATTRIBUTE.outcome,
    ATTRIBUTE.eventName,
  ),
  'sse.deliveries': counter(
    '{delivery}',
    'Events handed to connections of this node by a broadcast, a topic, a mailbox, a resumable source or another node',
    ATTRIBUTE.scope,
    ATTRIBUTE.outcome,
  ),
  'sse.delivery.latency': milliseconds(
    'From send to the write on the receiving node, once per event and node, by both clocks',
    ATTRIBUTE.scope,
  ),
  'sse.route.duration': milliseconds(
    'From asking the cluster to deliver to its answer, retries included',
    ATTRIBUTE.outcome,
  ),
  'sse.sends.pending': updown('{send}', 'Sends that wait for an answer of the cluster'),
  'sse.bytes.written': counter('By', 'Bytes handed to sockets'),
  'sse.send_buffer.bytes': updown('By', 'Bytes that wait for slow clients'),
  'sse.send_buffer.dropped': counter('{event}', 'Events that a full send buffer cost'),
  'sse.replay.entries': counter(
    '{entry}',
    'Entries of the log written to clients that came back, or for whom they waited',
  ),
  'sse.replay.resets': counter('{reset}', 'Gaps that clients got a reset for', ATTRIBUTE.resetReason),
  'sse.cleanup.removed': counter('{item}', 'What cleanups removed', ATTRIBUTE.cleanupKind),
  'sse.consistency.repairs': counter(
    '{repair}',
    'Differences between this node and the cluster that were repaired',
    ATTRIBUTE.repairKind,
  ),
  'sse.leaks': counter('{leak}', 'Resources that had no owner any more', ATTRIBUTE.leakKind),
  'sse.redis.command.duration': milliseconds(
    'From a command to its answer, or its failure',
    ATTRIBUTE.redisCommand,
    ATTRIBUTE.errorType,
  ),
  'sse.retries': counter('{retry}', 'Calls to the cluster that were repeated', ATTRIBUTE.operation),
  'sse.refusals': counter(
    '{call}',
    'Calls to the cluster that the policy refused or gave up',
    ATTRIBUTE.operation,
    ATTRIBUTE.refusalReason,
  ),
  'sse.circuit.state': gauge(
    '{state}',
    'Circuit of each kind of call: 0 closed, 1 half-open, 2 open',
    ATTRIBUTE.operation,
  ),
  'sse.feed.lag': gauge('s', 'Longest time since the last look from the log to this node, by both clocks'),
  'sse.eventloop.delay': gauge(
    's',
    'Delay of the event loop since the last look: mean, p99 and max',
    ATTRIBUTE.statistic,
  ),
};

type NameOf<K extends MetricKind> = {
  [N in keyof typeof ROWS]: (typeof ROWS)[N]['kind'] extends K ? N : never;
}[keyof typeof ROWS];

/** A metric that is recorded value by value. */
export type HistogramName = NameOf<'histogram'>;
/** A metric that is read when the meter collects. */
export type ObservableName = Exclude<keyof typeof ROWS, HistogramName>;

/** One metric of this library. */
export interface MetricDefinition extends Row {
  readonly name: keyof typeof ROWS;
}

/** Every metric of this library. The cast: the keys of the table are just those. */
export const METRICS = Object.entries(ROWS).map(([name, row]) => ({ name, ...row })) as readonly MetricDefinition[];
