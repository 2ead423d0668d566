import { hostname } from 'node:os';
import type { OperationKind } from '../contracts/policy.js';
import type { SseNode } from '../node/node.js';
import type { DistributedSseService } from '../node/service.js';
import { isInternal } from '../protocol/names.js';
import { EventLoopDelay } from '../telemetry/figures.js';
import { SCOPE } from '../telemetry/names.js';
import type { Latency, NodeReading, Traffic } from './contract.js';
import { wallTimeOf } from './rows.js';
import { type Check, isFlag, isListOf, isNumber, isOneOf, isRecordOf, isShape, isText, orNull } from './shape.js';

/** Milliseconds between two looks at the event loop. */
const LOOK_MS = 50;

/** Measures one node. What needs two looks is measured from `start` on. */
export class NodeMeter {
  #loop: EventLoopDelay | undefined;
  #cpu: { readonly at: number; readonly used: number } | undefined;

  constructor(private readonly service: DistributedSseService) {}

  start(): void {
    this.#loop ??= new EventLoopDelay(LOOK_MS);
    this.#cpu = { at: performance.now(), used: processorMs() };
  }

  stop(): void {
    this.#loop?.close();
    this.#loop = undefined;
    this.#cpu = undefined;
  }

  /** What the node says of itself now. @param recorded since the reading before, if anything was */
  read(
    viewers: number,
    recorded: { readonly traffic: Traffic; readonly feedLagMs: number | null } | undefined,
  ): NodeReading {
    const { node, sources } = this.service;
    const { rss, heapUsed, heapTotal } = process.memoryUsage();
    return {
      nodeId: node.options.node.id,
      at: Date.now(),
      host: hostname(),
      pid: process.pid,
      nodeVersion: process.version,
      libraryVersion: SCOPE.version,
      uptimeMs: Date.now() - wallTimeOf(node.createdAt),
      phase: node.phase,
      connections: node.store.size,
      opening: node.store.opening,
      maxConnections: node.options.connection.maxConnections,
      viewers,
      topics: countTopics(node),
      sources: sources.runs.size,
      lease: leaseOf(node),
      health: this.service.health(),
      circuits: circuitsOf(node),
      feedLagMs: recorded?.feedLagMs ?? null,
      eventLoop: this.#takeLoop(),
      memory: { rss, heapUsed, heapTotal },
      cpu: this.#takeCpu(),
      sendBuffer: { bytes: node.environment.budget.used, limit: node.environment.budget.limit },
      pendingSends: node.pendingSends,
      traffic: recorded?.traffic ?? null,
    };
  }

  #takeLoop(): NodeReading['eventLoop'] {
    const late = this.#loop?.take();
    return late === undefined ? null : { meanMs: late.mean, p99Ms: late.p99, maxMs: late.max };
  }

  #takeCpu(): number | null {
    const former = this.#cpu;
    if (former === undefined) return null;
    const at = performance.now();
    const used = processorMs();
    this.#cpu = { at, used };
    return at === former.at ? null : (used - former.used) / (at - former.at);
  }
}

function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function countTopics({ store }: SseNode): number {
  let count = 0;
  for (const topic of store.topics()) if (!isInternal(topic)) count += 1;
  return count;
}

function leaseOf({ phase, cluster }: SseNode): NodeReading['lease'] {
  if (phase !== 'started' && phase !== 'draining') return 'unknown';
  const { reachable, trouble } = cluster.status();
  if (reachable) return 'held';
  return trouble === 'lease' ? 'lost' : 'unknown';
}

function circuitsOf({ cluster, options }: SseNode): NodeReading['circuits'] {
  // The settings have every kind and no other key.
  const kinds = Object.keys(options.resilience) as OperationKind[];
  return Object.fromEntries(kinds.map(kind => [kind, cluster.circuit(kind)]));
}

/** The traffic of several nodes as one; `null` when none has any. */
export function sumOf(all: readonly Traffic[]): Traffic | null {
  const [first] = all;
  if (first === undefined) return null;
  const sum = (value: (traffic: Traffic) => number): number => all.reduce((total, each) => total + value(each), 0);
  return {
    periodMs: sum(({ periodMs }) => periodMs) / all.length,
    deliveries: {
      delivered: sum(({ deliveries }) => deliveries.delivered),
      buffered: sum(({ deliveries }) => deliveries.buffered),
      rejected: sum(({ deliveries }) => deliveries.rejected),
    },
    sent: joined(all.map(({ sent }) => sent)),
    bytesWritten: sum(({ bytesWritten }) => bytesWritten),
    dropped: sum(({ dropped }) => dropped),
    opened: sum(({ opened }) => opened),
    reconnects: sum(({ reconnects }) => reconnects),
    closed: joined(all.map(({ closed }) => closed)),
    refused: joined(all.map(({ refused }) => refused)),
    gaps: joined(all.map(({ gaps }) => gaps)),
    replayed: sum(({ replayed }) => replayed),
    deliveryLatency: joinedLatency(all.map(({ deliveryLatency }) => deliveryLatency)),
    receiptLatency: joinedLatency(all.map(({ receiptLatency }) => receiptLatency)),
  };
}

/** Counts by label, added up. */
export function joined(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const counts of all) for (const [label, count] of Object.entries(counts)) sum[label] = (sum[label] ?? 0) + count;
  return sum;
}

function joinedLatency(all: readonly (Latency | null)[]): Latency | null {
  const buckets = new LatencyBuckets();
  for (const latency of all) if (latency !== null) buckets.join(latency);
  return buckets.read();
}

/** Upper bounds of the buckets in milliseconds; the last bucket has none. */
export const LATENCY_BOUNDS: readonly number[] = [
  0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 2_000, 3_000, 5_000,
  10_000,
];

/** Counts durations in buckets, so that those of several nodes can be joined. */
export class LatencyBuckets {
  readonly #buckets: number[] = new Array<number>(LATENCY_BOUNDS.length + 1).fill(0);
  #count = 0;
  #max = 0;

  add(ms: number): void {
    this.#count += 1;
    if (ms > this.#max) this.#max = ms;
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS.length && ms > (LATENCY_BOUNDS[bucket] ?? Infinity)) bucket += 1;
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
  }

  join({ count, max, buckets }: Latency): void {
    this.#count += count;
    this.#max = Math.max(this.#max, max);
    this.#buckets.forEach((own, bucket) => (this.#buckets[bucket] = own + (buckets[bucket] ?? 0)));
  }

  /** What was counted; `null` when nothing was. */
  read(): Latency | null {
    if (this.#count === 0) return null;
    const [p50, p90, p99] = [this.#percentile(0.5), this.#percentile(0.9), this.#percentile(0.99)];
    return { count: this.#count, p50, p90, p99, max: this.#max, buckets: this.#buckets };
  }

  /** The upper bound of the bucket in which so large a share has ended. */
  #percentile(share: number): number {
    let left = share * this.#count;
    const bucket = this.#buckets.findIndex(count => (left -= count) <= 0);
    return Math.min(LATENCY_BOUNDS[bucket] ?? this.#max, this.#max);
  }
}

const isLatency = isShape<Latency>({
  count: isNumber,
  p50: isNumber,
  p90: isNumber,
  p99: isNumber,
  max: isNumber,
  buckets: isListOf(isNumber),
});

const isTraffic = isShape<Traffic>({
  periodMs: isNumber,
  deliveries: isShape<Traffic['deliveries']>({ delivered: isNumber, buffered: isNumber, rejected: isNumber }),
  sent: isRecordOf(isNumber),
  bytesWritten: isNumber,
  dropped: isNumber,
  opened: isNumber,
  reconnects: isNumber,
  closed: isRecordOf(isNumber),
  refused: isRecordOf(isNumber),
  gaps: isRecordOf(isNumber),
  replayed: isNumber,
  deliveryLatency: orNull(isLatency),
  receiptLatency: orNull(isLatency),
});

/** Whether a value is the reading of a node. */
export const isReading: Check<NodeReading> = isShape<NodeReading>({
  nodeId: isText,
  at: isNumber,
  host: isText,
  pid: isNumber,
  nodeVersion: isText,
  libraryVersion: isText,
  uptimeMs: isNumber,
  phase: isOneOf('new', 'started', 'draining', 'closed'),
  connections: isNumber,
  opening: isNumber,
  maxConnections: isNumber,
  viewers: isNumber,
  topics: isNumber,
  sources: isNumber,
  lease: isOneOf('held', 'lost', 'unknown'),
  health: isShape<NodeReading['health']>({
    live: isFlag,
    ready: isFlag,
    degraded: isFlag,
    reasons: isListOf(isShape<NodeReading['health']['reasons'][number]>({ code: isText, message: isText })),
  }),
  circuits: isRecordOf(isOneOf('closed', 'half-open', 'open')),
  feedLagMs: orNull(isNumber),
  eventLoop: orNull(
    isShape<NonNullable<NodeReading['eventLoop']>>({ meanMs: isNumber, p99Ms: isNumber, maxMs: isNumber }),
  ),
  memory: isShape<NodeReading['memory']>({ rss: isNumber, heapUsed: isNumber, heapTotal: isNumber }),
  cpu: orNull(isNumber),
  sendBuffer: isShape<NodeReading['sendBuffer']>({ bytes: isNumber, limit: isNumber }),
  pendingSends: isNumber,
  traffic: orNull(isTraffic),
});
