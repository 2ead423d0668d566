import type { Delivery } from '../contracts/connection-store.js';
import type { LocalReceipt } from '../contracts/receipt.js';
import type { SseErrorCode } from '../errors/sse-error.js';

/** What a receipt is about. */
export interface ReceiptSubject {
  readonly connectionId: string;
  readonly messageId: string;
  readonly nodeId: string;
  /** `performance.now()` when the call came in. */
  readonly startedAt: number;
}

/** The receipt of a delivery on this node. */
export function localReceipt(subject: ReceiptSubject, delivery: Delivery): LocalReceipt {
  const { connectionId, messageId, nodeId, startedAt } = subject;
  const base = { connectionId, messageId, ms: performance.now() - startedAt };
  switch (delivery.outcome) {
    case 'delivered':
    case 'buffered':
      return { outcome: delivery.outcome, ...base, nodeId };
    case 'closed':
      return { outcome: 'not-connected', ...base };
    case 'rejected':
      return { outcome: 'rejected', ...base, nodeId, code: delivery.code };
  }
}

/** The delivery that a refusal before any write amounts to. */
export function rejectedDelivery(code: SseErrorCode): Delivery {
  return { outcome: 'rejected', code };
}
