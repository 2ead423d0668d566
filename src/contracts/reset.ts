import type { ResetReason } from './hole.js';
import type { SseConnection } from './sse-connection.js';

/** What a client was told by `sse.reset`. */
export interface Reset {
  readonly reason: ResetReason;
  /** The topics with the hole; `*` stands for what is addressed to everyone. */
  readonly topics: readonly string[];
  /** The id at which the stream goes on. */
  readonly resumedFrom: string;
}

/** A client that was told, for whom the application may mend the hole. */
export type ResetClient = Pick<SseConnection, 'id' | 'topics' | 'send'>;

/**
 * Called when a client was told of a hole, to send it what it needs instead: a snapshot. What it sends to a client that
 * comes back stands before everything that is replayed, which waits for the hook to settle, up to 10 s. What it sends into
 * a stream that goes on comes as soon as it can, other events may be faster. A failure is logged and changes nothing.
 */
export type ResetHook = (client: ResetClient, reset: Reset) => void | Promise<void>;
