/**
 * The JSON of the console: what `GET <console>/api/…` answers, what its streams carry, and what an action takes and answers.
 * Plain data: this file and `contract-lists.ts` import nothing else, so that the page and scripts can use them.
 *
 * **Resources.** `GET api/about`, `api/nodes`, `api/connections`, `api/topics`, `api/sources`, `api/log`, `api/activity`.
 * Each answers once with JSON. All but `about` and `log` answer a request whose `Accept` names `text/event-stream` (an
 * `EventSource` does) with a stream: first event `connected`, then, at once and again every `every` milliseconds (query;
 * 500 to 60000, default 2000), an event with the name of the resource (`nodes`, `connections`, …) and the same JSON.
 * `api/live` is a stream only: see {@link LiveEvents}.
 *
 * **Whole cluster.** Any node answers for all. `missing` names live nodes that did not answer within a second; a node that
 * does not mount the console never answers and is in `silent`.
 *
 * **Unknown is null.** A value that is not known is `null`, never left out and never a guess. Every time is milliseconds
 * since 1970 by the clock of the node it is about; every duration is in milliseconds.
 *
 * **Errors.** Every answer that is not 2xx is {@link Failure}.
 */

import type { ClusterAnswer } from './contract-lists.js';

export type {
  ClusterAnswer,
  ConnectionRow,
  ConnectionsAnswer,
  LogAnswer,
  LogEntryRow,
  SourceRow,
  SourcesAnswer,
  TopicRow,
  TopicsAnswer,
} from './contract-lists.js';

/** The answer to a request that failed. Codes are those of `SseError`, and `INVALID_REQUEST` for a wrong parameter. */
export interface Failure {
  readonly error: { readonly code: string; readonly message: string };
}

/** `GET api/about`: ask once, at the start of the page. Sets the cookie that belongs to `token`. */
export interface About {
  readonly version: string;
  /** The node that serves this console. */
  readonly nodeId: string;
  /** To be sent as `X-Console-Token` with each action. Changes when the cookie is gone: ask again after a 403. */
  readonly token: string;
  /** With `{traceId}` in place of the trace; begins with `http://` or `https://`. */
  readonly traceLink: string | null;
  /** What the guard lets this visitor do. Show no other action. */
  readonly actions: readonly ActionName[];
  /** Bounds of the queries. */
  readonly limits: { readonly rows: number; readonly every: { readonly least: number; readonly most: number } };
  /** The upper bounds of the buckets of every {@link Latency}; the last bucket has no bound. */
  readonly latencyBounds: readonly number[];
  /** Milliseconds between two events `tick`. */
  readonly tickMs: number;
}

// ---------------------------------------------------------------------------------------------------------------- nodes

/** `GET api/nodes`. The first reading of a node that nobody looked at has `traffic: null`: rates need two readings. */
export interface NodesAnswer extends ClusterAnswer {
  /** Sorted by id. */
  readonly nodes: readonly NodeRow[];
  /** Sum over `nodes`; `null` when no node has traffic yet. */
  readonly traffic: Traffic | null;
}

/** One live node. */
export type NodeRow =
  /** Its own reading. */
  | (NodeReading & { readonly kind: 'reading'; readonly self: boolean })
  /** It has a live lease, and no console that could answer, or did not answer in time. */
  | { readonly kind: 'silent'; readonly nodeId: string; readonly self: boolean; readonly connections: number };

/** What a node says of itself. */
export interface NodeReading {
  readonly nodeId: string;
  readonly at: number;
  readonly host: string;
  readonly pid: number;
  readonly nodeVersion: string;
  readonly libraryVersion: string;
  readonly uptimeMs: number;
  readonly phase: 'new' | 'started' | 'draining' | 'closed';
  /** Streams that are open. Viewers of the console are not among them. */
  readonly connections: number;
  readonly opening: number;
  readonly maxConnections: number;
  /** Viewers of the console on this node. */
  readonly viewers: number;
  readonly topics: number;
  /** Resumable sources that run here. */
  readonly sources: number;
  /** `held`: proof of life is renewed. `lost`: the cluster counts the node as gone. `unknown`: the cluster is out of reach. */
  readonly lease: 'held' | 'lost' | 'unknown';
  readonly health: {
    readonly live: boolean;
    readonly ready: boolean;
    readonly degraded: boolean;
    readonly reasons: readonly { readonly code: string; readonly message: string }[];
  };
  /** By kind of call: `register`, `replay`, `send`, `publish`, `command`, `maintenance`. */
  readonly circuits: Readonly<Record<string, 'closed' | 'half-open' | 'open'>>;
  /** Longest time from log to this node since the reading before, by both clocks; `null`: nothing arrived. */
  readonly feedLagMs: number | null;
  /** Since the reading before. */
  readonly eventLoop: { readonly meanMs: number; readonly p99Ms: number; readonly maxMs: number } | null;
  readonly memory: { readonly rss: number; readonly heapUsed: number; readonly heapTotal: number };
  /** Processor time of the process since the reading before, 1 is one core; `null` at the first reading. */
  readonly cpu: number | null;
  /** Bytes that wait for slow clients, of at most so many. */
  readonly sendBuffer: { readonly bytes: number; readonly limit: number };
  readonly pendingSends: number;
  readonly traffic: Traffic | null;
}

/** Counts of a period: since the reading before. Divide by `periodMs / 1000` for a rate. */
export interface Traffic {
  readonly periodMs: number;
  /** Events for connections, by what became of each: sends, broadcasts, topics, mailboxes, sources. */
  readonly deliveries: { readonly delivered: number; readonly buffered: number; readonly rejected: number };
  /** Calls of the application, by outcome (`delivered`, `stored`, `unknown`, …). */
  readonly sent: Readonly<Record<string, number>>;
  readonly bytesWritten: number;
  /** Events that full send buffers cost. */
  readonly dropped: number;
  readonly opened: number;
  /** Of `opened`: clients that came back with a last id. */
  readonly reconnects: number;
  /** By close reason; reasons of the application are `custom`. */
  readonly closed: Readonly<Record<string, number>>;
  /** By error code. */
  readonly refused: Readonly<Record<string, number>>;
  /** By reason: `GAP`, `EPOCH`, `AHEAD`, `OVERFLOW`, `PRODUCER_LOST`. */
  readonly gaps: Readonly<Record<string, number>>;
  /** Entries that were replayed. */
  readonly replayed: number;
  /** From publication or send to the write on this node; by both clocks. */
  readonly deliveryLatency: Latency | null;
  /** From the call of a send or publication on this node to its receipt. */
  readonly receiptLatency: Latency | null;
}

/** `null` in place of it: nothing was measured. */
export interface Latency {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
  /** How many fell in each bucket, see {@link About.latencyBounds}; add them up to join periods or nodes. */
  readonly buckets: readonly number[];
}

// ----------------------------------------------------------------------------------------------------------------- live

/**
 * The events of `GET api/live`, by name. From the first viewer on the nodes record what happens; before that, and after the
 * last one has left, nothing is recorded. A viewer that is late gets fewer ticks, never a queue of them.
 */
export interface LiveEvents {
  /** Every second. */
  readonly tick: NodesAnswer;
  /** What happened since the event before; at most once a second, not when nothing did. */
  readonly happenings: HappeningsEvent;
  /** Sends and publications since the event before; as `happenings`. */
  readonly sends: SendsEvent;
}

/** Newest last; at most 200 of each node and second. */
export interface HappeningsEvent {
  readonly happenings: readonly Happening[];
  /** So many more happened, by kind. */
  readonly more: Readonly<Record<string, number>>;
}

export interface SendsEvent {
  readonly sends: readonly SendRecord[];
  /** So many more were made, by outcome. */
  readonly more: Readonly<Record<string, number>>;
}

/** `GET api/activity`: what the nodes still remember of the time in which somebody looked, newest last. */
export interface ActivityAnswer extends ClusterAnswer {
  /** Whether the nodes record at present. */
  readonly recording: boolean;
  readonly happenings: readonly Happening[];
  readonly sends: readonly SendRecord[];
}

interface HappeningBase {
  /** Unique in the cluster; use it as a key. */
  readonly id: string;
  readonly at: number;
  /** Where it happened. */
  readonly nodeId: string;
}

/** Something that happened. */
export type Happening = HappeningBase &
  (
    | {
        readonly kind: 'connect';
        readonly connectionId: string;
        readonly user: string | null;
        /** The client came back with a last id. */
        readonly resumed: boolean;
        /** It opened although the cluster was out of reach. */
        readonly degraded: boolean;
      }
    /** The stream ended; any reason but `superseded`, `revoked` and `expired`. */
    | { readonly kind: 'close'; readonly connectionId: string; readonly reason: string; readonly ageMs: number }
    /** A newer stream of the same id ended this one. */
    | { readonly kind: 'takeover'; readonly connectionId: string; readonly ageMs: number }
    | { readonly kind: 'revoke'; readonly connectionId: string; readonly reason: string; readonly ageMs: number }
    /** A request for a stream got none. */
    | { readonly kind: 'refuse'; readonly connectionId: string | null; readonly code: string }
    /** A client got `sse.reset`. `connectionId` is null where the gap is of a replay. */
    | { readonly kind: 'gap'; readonly connectionId: string | null; readonly reason: string }
    | { readonly kind: 'drain' }
    /** Differences between node and cluster were repaired. */
    | { readonly kind: 'repair'; readonly repairs: Readonly<Record<string, number>> }
    | { readonly kind: 'circuit'; readonly operation: string; readonly state: 'closed' | 'half-open' | 'open' }
    /** The health of the node changed: the codes of all reasons that hold now; empty: all is well. */
    | { readonly kind: 'health'; readonly ready: boolean; readonly reasons: readonly string[] }
    /** A node appeared in the cluster, or is gone. */
    | { readonly kind: 'node-up' }
    | { readonly kind: 'node-down' }
    /** Somebody used the console. */
    | { readonly kind: 'action'; readonly action: ActionName; readonly target: string; readonly outcome: string }
  );

/** One send or publication and its receipt. */
export interface SendRecord {
  readonly id: string;
  /** When it was called. */
  readonly at: number;
  readonly ms: number;
  /** The node that sent. */
  readonly nodeId: string;
  readonly kind: 'send' | 'publish' | 'broadcast';
  /** A connection id, a topic, or `*`. */
  readonly to: string;
  readonly event: string;
  readonly outcome: string;
  readonly code: string | null;
  /** The node that has the connection. */
  readonly ownerNodeId: string | null;
  readonly messageId: string | null;
  /** Id of the entry in the log. */
  readonly entryId: string | null;
  /** 32 hex digits; `null` without an OpenTelemetry SDK, or when the trace is not recorded. */
  readonly traceId: string | null;
}

// -------------------------------------------------------------------------------------------------------------- actions

/**
 * `POST api/<action>` with a JSON body and `X-Console-Token`. 200 with the answer below, also for an outcome that is no
 * success; 400 for a wrong body, 403 without permission or token, 422 for a bad name.
 */
export interface Actions {
  readonly send: {
    readonly body: {
      readonly connectionId: string;
      /** Default `message`. */
      readonly event?: string;
      /** A string is sent as it is, any other value as JSON. */
      readonly data: unknown;
      readonly durable?: boolean;
    };
    readonly answer: SendAnswer;
  };
  /** Without `topic` a broadcast to the cluster. */
  readonly publish: {
    readonly body: {
      readonly topic?: string;
      readonly event?: string;
      readonly data: unknown;
      /** False: not kept. */
      readonly history?: false;
    };
    readonly answer: PublishAnswer;
  };
  readonly close: {
    readonly body: { readonly connectionId: string; /** Default `closed`. */ readonly reason?: string };
    readonly answer: CloseAnswer;
  };
  /** Ends all streams of a user. */
  readonly revoke: { readonly body: { readonly user: string }; readonly answer: CloseAnswer };
  /** The node answers at once; its drain takes seconds, and `live` shows it. */
  readonly drain: {
    readonly body: { readonly nodeId: string };
    readonly answer: { readonly outcome: 'delivered' | 'not-connected' | 'unknown' };
  };
  /** `forget`: lets the key run again at once. */
  readonly 'stop-source': {
    readonly body: { readonly key: string; readonly forget?: boolean };
    readonly answer: { readonly outcome: string; readonly code: string | null };
  };
}

export type ActionName = keyof Actions;

/** As `Receipt` of the library. */
export interface SendAnswer {
  readonly outcome: string;
  readonly code: string | null;
  readonly connectionId: string;
  readonly messageId: string;
  readonly nodeId: string | null;
  readonly ms: number;
}

/** As `PublishReceipt` and `BroadcastReceipt`. `local` and `nodes` are of a broadcast. */
export interface PublishAnswer {
  readonly outcome: string;
  readonly code: string | null;
  readonly topic: string | null;
  readonly id: string | null;
  readonly local: number | null;
  readonly nodes: number | null;
}

/** As `CloseReceipt`. */
export interface CloseAnswer {
  readonly closed: number;
  readonly missing: readonly string[];
  readonly unavailable: string | null;
}
