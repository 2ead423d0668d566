/** What one client may do and how long the node holds on to it. */
export interface ConnectionSettings {
  /**
   * Milliseconds without a byte accepted by the socket, although bytes were waiting, after which
   * the connection is stale and closed. Default 30000.
   */
  readonly timeout: number;
  /**
   * Milliseconds between two heartbeat comments; `false`: none, then a dead client is noticed
   * later. Default 30000.
   */
  readonly heartbeat: number | false;
  /**
   * Connections this node takes; further ones get 503, takeovers excepted. At least 1. Default
   * 1000.
   */
  readonly maxConnections: number;
  /**
   * Milliseconds after which a connection is closed whatever it does; `false`: no limit. Default
   * `false`.
   */
  readonly maxAge: number | false;
  /**
   * What happens when a connected id connects again: the newer one wins, or gets 409. Default
   * `takeover`.
   */
  readonly onDuplicate: 'takeover' | 'reject';
  /**
   * Takeovers of one id within `takeoverWindow` that succeed; the next is told to stop. At least 1.
   * Default 5.
   */
  readonly takeoverLimit: number;
  /** Milliseconds over which takeovers of one id are counted. Default 30000. */
  readonly takeoverWindow: number;
  /**
   * Whether an open HTTP/1 stream lets go of its request, response, parser and Koa context, which
   * saves several kilobytes per connection; `auto`: where the release of Node is known to allow it;
   * `false`: never. Default `auto`.
   */
  readonly detach: 'auto' | false;
}

/** Bytes waiting for slow clients. */
export interface SendBufferSettings {
  /** Bytes that may wait for one slow connection. Default 4194304 (4 MiB). */
  readonly maxBytes: number;
  /**
   * Bytes that may wait in the whole process; not less than `maxBytes`. Default 268435456 (256
   * MiB).
   */
  readonly maxTotalBytes: number;
  /**
   * What a full send buffer costs: the connection, its oldest waiting events, or the event that does not
   * fit. Default `disconnect`, because a client that reconnects resumes and one that lost events
   * silently does not.
   */
  readonly policy: 'disconnect' | 'drop-oldest' | 'drop-newest';
  /**
   * Milliseconds for which writing to many connections keeps the event loop at most; then everything
   * else has its turn, and writing goes on. Default 5.
   */
  readonly slice: number;
}

/** What the log keeps of the topics that match a pattern; what is left out comes from the group. */
export interface TopicHistory {
  /** Newest events kept, 1 to 1000000. Default `history.maxEntries`. */
  readonly maxEntries?: number | undefined;
  /** Milliseconds an event is kept. Default `history.ttl`. */
  readonly ttl?: number | undefined;
}

/** What is kept so that a client that comes back misses nothing. */
export interface HistorySettings {
  /** Whether anything is kept at all. Default true. */
  readonly enabled: boolean;
  /** Newest events kept per topic, and of broadcasts, 1 to 1000000. Default 1000. */
  readonly maxEntries: number;
  /** Milliseconds an event is kept. Default 300000. */
  readonly ttl: number;
  /**
   * Exceptions by topic pattern: a topic name in which `*` stands for any characters, `/` included.
   * `false` keeps nothing. The first matching key wins, in the order of the object (in which
   * JavaScript puts whole numbers first). Broadcasts have no topic: no pattern matches them.
   * Default none.
   */
  readonly topics: Readonly<Record<string, false | TopicHistory>>;
}

/** Direct sends that wait for their client, see `durable`. The same on every node. */
export interface MailboxSettings {
  /**
   * Whether connections have one. Each then costs a subscription of its node, and a client that begins anew, without a last
   * event id, is given what its mailbox has. Default false.
   */
  readonly enabled: boolean;
  /** Newest events kept per connection id, 1 to 1000000. Default 100. */
  readonly maxEntries: number;
  /** Milliseconds an event is kept. Default 300000. */
  readonly ttl: number;
}

/** Resumable sources: those that run once for all that follow them. The same on every node. */
export interface SourceSettings {
  /** Most events of one source, 1 to 1000000; at one more it fails. Default 100000. */
  readonly maxEntries: number;
  /** Milliseconds its events are kept after the last one. Default 3600000. */
  readonly ttl: number;
  /** Milliseconds without proof of life after which whoever runs one counts as lost. Default 10000. */
  readonly lease: number;
}

/** Sends to a connection of any node. */
export interface SendSettings {
  /**
   * `owner`: a receipt says what the owning node did. `none`: hand over and forget. Default
   * `owner`.
   */
  readonly ack: 'owner' | 'none';
  /** Milliseconds after which a send without an answer is `unknown`, 1 to 600000. Default 3000. */
  readonly deadline: number;
  /** Sends that may wait for their answer at once. At least 1. Default 10000. */
  readonly maxPending: number;
}

/** Sizes that one event or connection may not exceed. */
export interface LimitsSettings {
  /** Bytes of one event's data; not more than `sendBuffer.maxTotalBytes`. Default 1048576 (1 MiB). */
  readonly maxEventBytes: number;
  /** Topics of one connection; 0: broadcasts and direct sends only. Default 128. */
  readonly maxTopicsPerConnection: number;
}

/** How clients that are sent away come back: spread out, so that they do not arrive all at once. */
export interface ReconnectSettings {
  /** Milliseconds a client is told to wait at least. Default 2000. */
  readonly retry: number;
  /** Milliseconds up to which a random part is added; 0: none. Default 5000. */
  readonly jitter: number;
  /** Connections per second that a drain closes at most. At least 1. Default 1000. */
  readonly rate: number;
}
