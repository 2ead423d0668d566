import type { CloseReason } from '../contracts/connection.js';
import type { FanOut, Outcome, ResetReason } from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import type { SettledCall, TelemetryWatcher, TrafficCounts } from '../contracts/telemetry.js';
import { countedReason } from '../telemetry/figures.js';
import type { ConnectionRow, Happening, HappeningsEvent, SendRecord, SendsEvent, Traffic } from './contract.js';
import { LatencyBuckets } from './reading.js';
import { rowOf } from './rows.js';

/** Most happenings, and most sends, that a node reports in one period; the rest is counted. */
const MOST_REPORTED = 200;
/** How many of each a node remembers. */
const MOST_REMEMBERED = 500;
const MOST_IDS = 10_000;
const MOST_TOPICS = 1_000;
/** Milliseconds over which the rate of a topic is counted. */
const RATE_MS = 5_000;

type NewHappening = Happening extends infer H ? (H extends Happening ? Omit<H, 'id' | 'at' | 'nodeId'> : never) : never;

/** What happened in one period. */
type Activity = HappeningsEvent & { readonly sends: SendsEvent };

/**
 * Records what a node does while somebody looks at it: counts of the present period, the latest happenings and receipts. All
 * of it is bounded, and gone when the recorder is.
 */
export class Recorder implements TelemetryWatcher {
  readonly happenings: Happening[] = [];
  readonly sends: SendRecord[] = [];
  /** The latest streams that ended. */
  readonly closed: ConnectionRow[] = [];
  readonly #reconnects = new Map<string, number>();
  readonly #topics = new TopicRates();
  #counts = new Counts();
  #reported = new Report<Happening>();
  #reportedSends = new Report<SendRecord>();
  readonly #startedAt = Date.now().toString(36);
  #ids = 0;
  #periodAt = performance.now();
  #bytes: number;
  #dropped: number;
  #lagMs: number | null = null;

  /** @param report reports what was recorded at once: no other period may follow */
  constructor(
    private readonly nodeId: string,
    private readonly written: TrafficCounts,
    private readonly report: () => void,
  ) {
    this.#bytes = written.bytesWritten;
    this.#dropped = written.eventsDropped;
  }

  /** Ends the present period. Returns its counts. */
  takeTraffic(): { readonly traffic: Traffic; readonly feedLagMs: number | null } {
    const now = performance.now();
    const { bytesWritten, eventsDropped } = this.written;
    const traffic: Traffic = {
      periodMs: rounded(now - this.#periodAt),
      ...this.#counts.read(),
      bytesWritten: bytesWritten - this.#bytes,
      dropped: eventsDropped - this.#dropped,
    };
    const feedLagMs = this.#lagMs;
    this.#counts = new Counts();
    this.#periodAt = now;
    this.#bytes = bytesWritten;
    this.#dropped = eventsDropped;
    this.#lagMs = null;
    return { traffic, feedLagMs };
  }

  /** What happened since the last call. */
  takeActivity(): Activity {
    const { items: happenings, more } = this.#reported;
    const { items: sends, more: moreSends } = this.#reportedSends;
    this.#reported = new Report();
    this.#reportedSends = new Report();
    return { happenings, more, sends: { sends, more: moreSends } };
  }

  /** Publications per second that arrive for a topic. */
  rateOf(topic: string): number {
    return this.#topics.of(topic);
  }

  /** How often a connection id came back. */
  reconnectsOf(connectionId: string): number {
    return this.#reconnects.get(connectionId) ?? 0;
  }

  /** Notes something that telemetry does not know. */
  note(happening: NewHappening): void {
    if (!this.#reported.admits(happening.kind)) return;
    // The spread of a union is not known to be of the union.
    const complete = { ...happening, id: this.#nextId(), at: Date.now(), nodeId: this.nodeId } as Happening;
    this.#reported.items.push(complete);
    remember(this.happenings, complete);
  }

  onOpened(connection: LocalConnection, degraded: boolean): void {
    const resumed = connection.lastEventId !== undefined;
    this.#counts.opened += 1;
    if (resumed) {
      this.#counts.reconnects += 1;
      this.#countReconnect(connection.id);
    }
    const { id: connectionId, user = null } = connection;
    this.note({ kind: 'connect', connectionId, user, resumed, degraded });
  }

  onStopped(connection: LocalConnection, reason: CloseReason): void {
    add(this.#counts.closed, countedReason(reason));
    const row = rowOf(connection, this.nodeId, this);
    remember(this.closed, { ...row, state: 'closed', closeReason: reason });
    const { connectionId, ageMs } = row;
    if (reason === 'superseded') this.note({ kind: 'takeover', connectionId, ageMs });
    else if (reason === 'revoked' || reason === 'expired') this.note({ kind: 'revoke', connectionId, reason, ageMs });
    else this.note({ kind: 'close', connectionId, reason, ageMs });
  }

  onRefused(connectionId: string | undefined, code: string): void {
    add(this.#counts.refused, code);
    this.note({ kind: 'refuse', connectionId: connectionId ?? null, code });
  }

  onReset(reason: ResetReason, connectionId: string | undefined): void {
    add(this.#counts.gaps, reason);
    this.note({ kind: 'gap', connectionId: connectionId ?? null, reason });
  }

  onReplayed(entries: number): void {
    this.#counts.replayed += entries;
  }

  onSettled(call: SettledCall): void {
    const { scope, to, event, messageId = null, result, ms, traceId = null } = call;
    if (scope !== 'connection') add(this.#counts.sent, result.outcome);
    this.#counts.receipts.add(ms);
    if (!this.#reportedSends.admits(result.outcome)) return;
    const record: SendRecord = {
      id: this.#nextId(),
      at: Math.round(Date.now() - ms),
      ms: rounded(ms),
      nodeId: this.nodeId,
      kind: KINDS[scope],
      to,
      event,
      outcome: result.outcome,
      code: ('code' in result && result.code) || null,
      ownerNodeId: ('nodeId' in result && result.nodeId) || null,
      messageId,
      entryId: ('id' in result && result.id) || null,
      traceId,
    };
    this.#reportedSends.items.push(record);
    remember(this.sends, record);
  }

  onSent(scope: 'connection' | 'source', outcome: Outcome): void {
    if (scope === 'connection') add(this.#counts.sent, outcome);
    this.#counts.deliver(outcome, 1);
  }

  onRouted(outcome: Outcome): void {
    // It is counted by `onSent` of this node, and delivered elsewhere.
    this.#counts.deliver(outcome, -1);
  }

  onDelivered(outcome: Outcome): void {
    this.#counts.deliver(outcome, 1);
  }

  onArrived({ delivered, buffered, rejected }: FanOut, topic: string | undefined): void {
    this.#counts.deliver('delivered', delivered);
    this.#counts.deliver('buffered', buffered);
    this.#counts.deliver('rejected', rejected);
    if (topic !== undefined) this.#topics.count(topic);
  }

  onLatency(ms: number): void {
    this.#counts.latency.add(ms);
  }

  onLag(lagMs: number): void {
    this.#lagMs = Math.max(this.#lagMs ?? 0, lagMs);
  }

  onRepaired(repairs: Readonly<Record<string, number>>): void {
    if (Object.values(repairs).some(count => count > 0)) this.note({ kind: 'repair', repairs });
  }

  onDraining(): void {
    this.note({ kind: 'drain' });
    this.report();
  }

  #countReconnect(connectionId: string): void {
    const count = this.reconnectsOf(connectionId);
    if (count === 0 && this.#reconnects.size >= MOST_IDS) return;
    this.#reconnects.set(connectionId, count + 1);
  }

  #nextId(): string {
    this.#ids += 1;
    return `${this.nodeId}-${this.#startedAt}-${this.#ids}`;
  }
}

const KINDS: Readonly<Record<SettledCall['scope'], SendRecord['kind']>> = {
  connection: 'send',
  topic: 'publish',
  cluster: 'broadcast',
};

/** The counts of one period. */
class Counts {
  readonly sent: Record<string, number> = {};
  readonly closed: Record<string, number> = {};
  readonly refused: Record<string, number> = {};
  readonly gaps: Record<string, number> = {};
  readonly latency = new LatencyBuckets();
  readonly receipts = new LatencyBuckets();
  readonly #deliveries = { delivered: 0, buffered: 0, rejected: 0 };
  opened = 0;
  reconnects = 0;
  replayed = 0;

  deliver(outcome: Outcome, count: number): void {
    if (outcome === 'delivered' || outcome === 'buffered' || outcome === 'rejected') this.#deliveries[outcome] += count;
  }

  read(): Omit<Traffic, 'periodMs' | 'bytesWritten' | 'dropped'> {
    const { sent, closed, refused, gaps, opened, reconnects, replayed } = this;
    const { delivered, buffered, rejected } = this.#deliveries;
    return {
      // A receipt may come in a later period than its delivery.
      deliveries: {
        delivered: Math.max(0, delivered),
        buffered: Math.max(0, buffered),
        rejected: Math.max(0, rejected),
      },
      ...{ sent, closed, refused, gaps, opened, reconnects, replayed },
      deliveryLatency: this.latency.read(),
      receiptLatency: this.receipts.read(),
    };
  }
}

/** The items of one period, and how many more there were. */
class Report<T> {
  readonly items: T[] = [];
  readonly more: Record<string, number> = {};

  /** Whether there is room; else it is counted. */
  admits(label: string): boolean {
    if (this.items.length < MOST_REPORTED) return true;
    add(this.more, label);
    return false;
  }
}

/** Counts publications by topic over a few seconds. */
class TopicRates {
  #former = new Map<string, number>();
  #present = new Map<string, number>();
  #formerMs = 0;
  #since = performance.now();

  count(topic: string): void {
    this.#turn();
    const count = this.#present.get(topic);
    if (count === undefined && this.#present.size >= MOST_TOPICS) return;
    this.#present.set(topic, (count ?? 0) + 1);
  }

  of(topic: string): number {
    this.#turn();
    const ms = this.#formerMs + performance.now() - this.#since;
    const count = (this.#former.get(topic) ?? 0) + (this.#present.get(topic) ?? 0);
    return ms === 0 ? 0 : (count * 1_000) / ms;
  }

  #turn(): void {
    const ms = performance.now() - this.#since;
    if (ms < RATE_MS) return;
    this.#former = this.#present;
    this.#formerMs = ms;
    this.#present = new Map();
    this.#since = performance.now();
  }
}

const MOST_LABELS = 64;

function add(counts: Record<string, number>, label: string): void {
  const known = counts[label];
  const key = known === undefined && Object.keys(counts).length >= MOST_LABELS ? 'other' : label;
  counts[key] = (counts[key] ?? 0) + 1;
}

/** To microseconds. */
function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}

function remember<T>(items: T[], item: T): void {
  items.push(item);
  if (items.length >= 2 * MOST_REMEMBERED) items.splice(0, items.length - MOST_REMEMBERED);
}
