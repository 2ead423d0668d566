/** What a server holds in memory, after garbage collection where it has one. */
export interface MemoryUse {
  /** Bytes of JavaScript objects; 0 where there is no such heap. */
  readonly heap: number;
  /** Bytes of the resident set. */
  readonly rss: number;
}

/** Where a client connects to, and how it greets. */
export interface Address {
  readonly port: number;
  /** Path that opens a stream. */
  readonly path: string;
  /** Default `event-stream`. */
  readonly speaks?: 'event-stream' | 'socket.io';
  /** What it says it has; of event streams only. */
  readonly lastEventId?: string;
}

/** A server under measurement, in a process of its own. */
export interface BenchServer extends Address {
  /** Broadcasts so many events at once; resolves to the time of the first, in nanoseconds of the monotonic clock. */
  broadcast(count: number): Promise<number>;
  /** Sends so many events to one connection each; `undefined` for a server that knows no single connections. */
  send?(count: number): Promise<void>;
  /** Processor time used so far, in microseconds. */
  cpu(): Promise<number>;
  memory(): Promise<MemoryUse>;
  /** The longest time its event loop was kept busy since the last question, in milliseconds. */
  longestStall?(): Promise<number>;
  stop(): Promise<void>;
}

/** A way to serve event streams that takes part in the comparison. */
export interface Candidate {
  /** Short, without spaces. */
  readonly name: string;
  readonly description: string;
  /** Why it cannot take part on this machine; `undefined` when it can. */
  readonly absence: () => string | undefined;
  /** @param connections how many it has to hold */
  readonly start: (connections: number) => Promise<BenchServer>;
}
