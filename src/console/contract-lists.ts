/** The part of the contract with long lists: what has a row per connection, topic, source or entry. */

/** Answers that every node takes part in. */
export interface ClusterAnswer {
  readonly at: number;
  /** Live nodes that have a console and did not answer in time: the answer is without them. */
  readonly missing: readonly string[];
  /** The cluster cannot be reached: the answer is of the node that serves the console alone. */
  readonly cutOff: boolean;
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
  /** Entries that the log keeps; `null`: not known. Asked for the first 50 rows only. */
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
