import type { SseErrorCode, UnavailableCode } from '../errors.js';

/** Event name to data type, as a type or an interface. Untyped by default. */
// An interface has no index signature, and is assignable to one only where that is of `any`.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type EventMap = Record<string, any>;

/** Settings of one event. */
export interface EventOptions {
  /**
   * Becomes the client's `Last-Event-ID`, on a connection with `ids: 'application'`; on others the send is `rejected`. Up to 256
   * bytes; CR, LF and NUL are refused with `INVALID_EVENT_ID`. Published events get the log's id instead.
   */
  readonly id?: string;
  /** The client's reconnection time from now on, in whole milliseconds. */
  readonly retry?: number;
}

/** One event as a source yields it. */
export interface SseEvent extends EventOptions {
  /** Default `message`. */
  readonly event?: string;
  /** A string is sent as it is, any other value as JSON. */
  readonly data: unknown;
}

/** A position in the ordered log. Positions of one epoch are ordered by `ms`, then by `sequence`. */
export interface Position {
  /** Milliseconds of the log's clock; never decreases within an epoch. */
  readonly ms: number;
  /** Number of the entry within the epoch; grows by one with each entry, whatever its topic. */
  readonly sequence: number;
}

/**
 * The position of a reader in the ordered log: the reader has every entry of its topics up to this one. The epoch changes
 * when the log is lost, so that an old cursor cannot match entries of a new log.
 */
export interface Cursor extends Position {
  /** Name of the log's life; 1 to 16 characters of `0-9a-z`. */
  readonly epoch: string;
}

/** The bytes of one event, encoded once and shared by every connection that gets them. Never mutated. */
export interface Frame {
  /** Complete event-stream text, blank line included. */
  readonly bytes: Buffer;
  /** Set when the frame is an entry of the ordered log. A connection drops entries that its client already has. */
  readonly position?: Cursor;
}

/**
 * Why entries are missing: `GAP` they were trimmed, `EPOCH` the log was lost, `AHEAD` the cursor is newer than the log,
 * `OVERFLOW` the client was too slow for `sendBuffer.policy`, `PRODUCER_LOST` no node runs the resumable source any more.
 */
export type ResetReason = 'GAP' | 'EPOCH' | 'AHEAD' | 'OVERFLOW' | 'PRODUCER_LOST';

/** Entries of the log that a reader did not get and will not get: it gets a reset instead. */
export interface Gap {
  readonly reason: Exclude<ResetReason, 'PRODUCER_LOST'>;
  /**
   * Each topic with missing entries and its newest missing entry; `*` stands for entries that are addressed to everyone.
   * `undefined`: every topic that the reader follows.
   */
  readonly topics: ReadonlyMap<string, Position> | undefined;
  /** The position at which the stream goes on. The reader gets every entry after it that is not missing. */
  readonly resumedFrom: Cursor;
  /** The newest missing entry of all topics. A client whose cursor is not before it misses nothing. */
  readonly until: Position;
}

/**
 * What became of an event. Every receipt, count and metric uses these names. An outcome is never a guess.
 *
 * | outcome | meaning |
 * |---|---|
 * | `confirmed` | `ack: 'client'`: the client said that it has handled the event |
 * | `delivered` | the owning node wrote the event to the connection's socket, and no bytes wait before that socket |
 * | `buffered` | the owning node holds the event in the send buffer of a slow or still opening connection |
 * | `stored` | the cluster keeps the event in its log or in the connection's mailbox |
 * | `routed` | `ack: 'none'`: the event was handed to a live owner, at most once |
 * | `not-connected` | no live route, or the connection has stopped |
 * | `rejected` | the event is too large, exceeds a bound, or is not allowed; the `code` says which |
 * | `unknown` | no answer within the deadline: the event may have been delivered |
 * | `unavailable` | the cluster or the owning node cannot be reached: the event was certainly not sent; the `code` says why |
 */
export type Outcome =
  | 'confirmed'
  | 'delivered'
  | 'buffered'
  | 'stored'
  | 'routed'
  | 'not-connected'
  | 'rejected'
  | 'unknown'
  | 'unavailable';

/** What became of one event for one connection of this node. */
export type LocalResult =
  | {
      readonly outcome: 'delivered' | 'buffered' | 'not-connected';
      /** The connection has had this message already, and this is what became of it then. */
      readonly duplicate?: true;
    }
  | { readonly outcome: 'rejected'; readonly code: SseErrorCode };

/** The event, or the command, was certainly not sent. */
export interface Unavailable {
  readonly outcome: 'unavailable';
  readonly code: UnavailableCode;
}

/** What became of a send, wherever the connection is. */
export type SendResult =
  | { readonly outcome: 'confirmed' | 'delivered' | 'buffered' | 'routed'; readonly nodeId: string }
  | { readonly outcome: 'stored' | 'not-connected' }
  /** The node is the one that did not answer, where it is known. */
  | { readonly outcome: 'unknown'; readonly nodeId?: string }
  | Unavailable
  | { readonly outcome: 'rejected'; readonly code: SseErrorCode; readonly nodeId?: string };

interface ReceiptBase {
  /** The connection the event was for. */
  readonly connectionId: string;
  /** Identifies the message for de-duplication; the same id can be sent again safely. */
  readonly messageId: string;
  /** Time from call to receipt, in milliseconds. */
  readonly ms: number;
}

/** The result of a send together with what was sent to whom. */
export type Receipt = ReceiptBase & SendResult;

/** The receipt of a send on this node alone. The send is synchronous, so its outcome is certain. */
export type LocalReceipt = ReceiptBase &
  (
    | { readonly outcome: 'delivered' | 'buffered'; readonly nodeId: string }
    | { readonly outcome: 'not-connected' }
    | { readonly outcome: 'rejected'; readonly code: SseErrorCode; readonly nodeId?: string }
  );

/** The connections of one node that were given one frame, by outcome. The three add up to the connections addressed. */
export interface FanOut extends Readonly<Record<Extract<Outcome, 'delivered' | 'buffered' | 'rejected'>, number>> {
  /** Connections that accepted the frame with nothing waiting before it. */
  readonly delivered: number;
  /** Connections that hold the frame behind waiting bytes, or until they are open. */
  readonly buffered: number;
  /** Connections that did not accept the frame: the send buffer is full, or the connection has stopped. */
  readonly rejected: number;
}

/** What became of an event for many. */
export type PublishResult =
  /** Kept; the id is its position in the ordered log. */
  | { readonly outcome: 'stored'; readonly id: string }
  | (WithoutId &
      (
        | {
            /**
             * `routed`: without history, handed to the subscribers of the moment, at most once. `unknown`: no answer within
             * `send.deadline`, so it may have been published; with an idempotency key it can be repeated safely.
             */
            readonly outcome: 'routed' | 'unknown';
          }
        /** Too large. */
        | { readonly outcome: 'rejected'; readonly code: SseErrorCode }
        | Unavailable
      ));

interface WithoutId {
  readonly id?: undefined;
}

/** The result of a publication. */
export type PublishReceipt = PublishResult & { readonly topic: string };

/** The result of a broadcast to the cluster. The outcome speaks of other nodes. */
export type BroadcastReceipt = PublishResult & {
  /** Open connections of this node when the broadcast was accepted. */
  readonly local: number;
  /** Nodes with a live lease, this one included; 0 when the cluster did not get it, `null` when that is not known. */
  readonly nodes: number | null;
  /** The cluster did not get it: only connections of this node did. */
  readonly degraded?: true;
};

/** What became of a command for one connection, wherever it is. */
export type CommandReceipt =
  /** The owning node carried it out. */
  | { readonly outcome: 'delivered' }
  /** The cluster remembers it for the next connect of the client. */
  | { readonly outcome: 'stored' }
  /** No node has the connection. */
  | { readonly outcome: 'not-connected' }
  /** The owning node refused it. */
  | { readonly outcome: 'rejected'; readonly code: SseErrorCode }
  /** The owning node did not answer: it may have carried it out. */
  | { readonly outcome: 'unknown' }
  | Unavailable;

/** What a client says of the events whose sender asked for a confirmation. */
export interface ConfirmationReport {
  readonly connectionId: string;
  /** Of the event `connected`, so that only the client of the stream can report. */
  readonly token: string;
  /** The ids of messages whose listeners have handled the event; with `failed` at most 100. */
  readonly handled: readonly string[];
  /** Of messages whose listeners failed, or that had none. */
  readonly failed: readonly string[];
}

/** What became of closing connections. */
export interface CloseReceipt {
  /** How many streams were closed, as far as known. */
  readonly closed: number;
  /** The ids of nodes that did not answer: they may have closed streams, or not. */
  readonly missing: readonly string[];
  /** Set when the cluster could not be asked: streams of other nodes are certainly open. */
  readonly unavailable?: UnavailableCode;
}
