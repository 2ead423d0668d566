/**
 * The JSON of the console: what `GET <console>/api/…` answers, what its streams carry, and what an action takes and answers.
 * Plain data: this file imports nothing, so that the page and scripts can use it.
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

/** Answers that every node takes part in. */
export interface ClusterAnswer {
  readonly at: number;
  /** Live nodes that have a console and did not answer in time: the answer is without them. */
  readonly missing: readonly string[];
  /** The cluster cannot be reached: the answer is of the node {@link About.nodeId} alone. */
  readonly cutOff: boolean;
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

// ---------------------------------------------------------------------------------------------------------- connections

/**
 * `GET api/connections?search=&user=&topic=&node=&state=&sort=&limit=&after=`
 *
 * - `search`: part of the connection id or the user. `user`, `topic`, `node`: exactly.
 * - `state`: `open`, `opening`, `draining`, `waiting` (open with bytes that wait), or `closed` (ended while somebody looked;
 *   each node remembers 500). Default: all but `closed`.
 * - `sort`: `id` (default), `age` (oldest first), `newest`, `waiting` (most bytes first).
 * - `limit`: 1 to 200, default 50. `after`: {@link ConnectionsAnswer.next} of the page before.
 */
export interface ConnectionsAnswer extends ClusterAnswer {
  /** Connections of all nodes that answered. */
  readonly total: number;
  /** Of these: connections that the filters let through. */
  readonly matching: number;
  readonly rows: readonly ConnectionRow[];
  /** `null`: this is the last page. */
  readonly next: string | null;
}

export interface ConnectionRow {
  readonly connectionId: string;
  readonly nodeId: string;
  readonly user: string | null;
  readonly state: 'opening' | 'open' | 'draining' | 'closed';
  /** The first 20; mailboxes and sources are not among them. */
  readonly topics: readonly string[];
  readonly topicCount: number;
  readonly openedAt: number;
  readonly ageMs: number;
  /** Bytes that its socket has not accepted. */
  readonly waitingBytes: number;
  /** The id up to which it was given every entry. */
  readonly cursor: string | null;
  /** The client came back with a last id. */
  readonly resumed: boolean;
  /** How often this id came back to this node while somebody looked. */
  readonly reconnects: number;
  /** What became of its latest event, as its send buffer shows; `null`: none yet. */
  readonly lastOutcome: 'delivered' | 'buffered' | 'rejected' | null;
  /** Whether a source of its own runs. */
  readonly streaming: boolean;
  /** Why it ended, for `state: 'closed'`. */
  readonly closeReason: string | null;
}

// --------------------------------------------------------------------------------------------------------------- topics

/**
 * `GET api/topics?search=&sort=&limit=`. `search`: part of the name. `sort`: `subscribers` (default), `rate`, `name`.
 * `limit`: 1 to 200, default 100; each node names its first 200, so the tail of more topics than that is not exact.
 */
export interface TopicsAnswer extends ClusterAnswer {
  /** Topics of the node that has most. */
  readonly total: number;
  readonly rows: readonly TopicRow[];
}

export interface TopicRow {
  readonly topic: string;
  readonly subscribers: number;
  /** Nodes with a subscriber. */
  readonly nodes: number;
  /** Publications per second that arrived, of the last seconds in which somebody looked at `live`; `null`: nobody does. */
  readonly rate: number | null;
  /** Entries that the log keeps; `null`: not known. `1000` stands for as many or more. */
  readonly kept: number | null;
}

/**
 * `GET api/log?topics=a,b&after=<id>&broadcasts=1&limit=50`: what would a client at this id get? Without `after`: the newest
 * entries. `limit`: 1 to 200. Names are percent-encoded, `,` in a name as `%252C`.
 */
export interface LogAnswer {
  readonly at: number;
  readonly topics: readonly string[];
  readonly after: string | null;
  /** The newest id of the log. */
  readonly head: string;
  /**
   * - `resumes`: the client gets `entries`, and misses nothing.
   * - `reset`: the client gets `sse.reset` first, see `reset`.
   * - `not-an-id`: the id is none of this log's; the client begins at the present.
   * - `newest`: no id was given; `entries` are the newest.
   */
  readonly verdict: 'resumes' | 'reset' | 'not-an-id' | 'newest';
  readonly reset: { readonly reason: string; readonly topics: readonly string[]; readonly resumedFrom: string } | null;
  readonly entries: readonly LogEntryRow[];
  /** There are more: ask again with `after` = the id of the last entry. */
  readonly more: boolean;
}

export interface LogEntryRow {
  readonly id: string;
  readonly at: number;
  readonly event: string;
  /** The first 2,000 characters. */
  readonly data: string;
  readonly bytes: number;
}

// -------------------------------------------------------------------------------------------------------------- sources

/** `GET api/sources?search=&limit=`: resumable sources. */
export interface SourcesAnswer extends ClusterAnswer {
  /** Running ones first. */
  readonly rows: readonly SourceRow[];
}

export interface SourceRow {
  readonly key: string;
  readonly state: 'running' | 'completed' | 'failed' | 'lost';
  /** The node that runs it; `null` when it has ended or its node did not answer. */
  readonly nodeId: string | null;
  /** Connections that follow it, on all nodes. */
  readonly followers: number;
  /** Events so far; `null` where its node is not known. */
  readonly events: number | null;
  readonly startedAt: number | null;
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
