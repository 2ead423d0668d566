import type { SseErrorCode } from '../errors/sse-error.js';

interface ReceiptBase {
  /** The connection the event was for. */
  readonly connectionId: string;
  /** Identifies the message for de-duplication; the same id can be sent again safely. */
  readonly messageId: string;
  /** Time from call to receipt, in milliseconds. */
  readonly ms: number;
}

/**
 * What became of a send; never a guess.
 *
 * | outcome | meaning |
 * |---|---|
 * | `delivered` | the owning node wrote it to the connection's socket |
 * | `buffered` | the owner accepted it into the outbox of a slow or still opening connection |
 * | `stored` | `durable`: kept in the connection's mailbox; its client was not seen to have it yet |
 * | `routed` | `ack: 'none'`: handed to a live owner, at most once |
 * | `not-connected` | no live route |
 * | `rejected` | too large, over the outbox bound, or closed by policy; `code` tells |
 * | `unknown` | no answer within the deadline: it may have been delivered |
 * | `unavailable` | the cluster, or the owner in it, cannot be reached and the connection is not here: certainly not sent |
 */
export type SendResult =
  | { readonly outcome: 'delivered' | 'buffered' | 'routed'; readonly nodeId: string }
  | { readonly outcome: 'stored' | 'not-connected' | 'unknown' | 'unavailable' }
  | { readonly outcome: 'rejected'; readonly code: SseErrorCode; readonly nodeId?: string };

/** The result of a send together with what was sent to whom. */
export type Receipt = ReceiptBase & SendResult;

/** The receipts a send on this node alone can have; it is synchronous, so nothing stays unknown. */
export type LocalReceipt = ReceiptBase &
  (
    | { readonly outcome: 'delivered' | 'buffered'; readonly nodeId: string }
    | { readonly outcome: 'not-connected' }
    | { readonly outcome: 'rejected'; readonly code: SseErrorCode; readonly nodeId?: string }
  );

/** How the connections of one node took one frame. The three add up to the connections addressed. */
export interface FanOut {
  /** Took it with nothing waiting before it. */
  readonly taken: number;
  /** Took it behind waiting bytes, or hold it until they are open. */
  readonly slow: number;
  /** Did not take it: outbox full, or closed because of it. */
  readonly dropped: number;
}

/** What is known about a broadcast to the cluster. */
export interface BroadcastReceipt {
  /** Open connections of this node when the broadcast was accepted. */
  readonly local: number;
  /** Nodes with a live lease, this one included; 0 when the cluster cannot be reached. */
  readonly nodes: number;
  /** Place in the ordered log; absent without history. */
  readonly id?: string;
  /** The cluster cannot be reached: only this node's connections got it. */
  readonly degraded?: true;
}

/** What is known about a publish. */
export interface PublishReceipt {
  readonly topic: string;
  /** Place in the ordered log; absent when the topic keeps no history. */
  readonly id?: string;
}
