import type { Attributes } from '@opentelemetry/api';
import type { Delivery } from '../contracts/connection-store.js';
import type { BroadcastReceipt, FanOut, PublishReceipt, SendResult } from '../contracts/receipt.js';
import { ATTRIBUTE } from './names.js';
import type { SpanEnd } from './span-recorder.js';

type Outcome = SendResult['outcome'];

// Nobody connected is an answer; these are failures to deliver.
const FAILURES: ReadonlySet<Outcome> = new Set<Outcome>(['rejected', 'unknown', 'unavailable']);

/** What a send says when it ends. */
export function sendEnd(result: SendResult): SpanEnd {
  const owner = 'nodeId' in result ? result.nodeId : undefined;
  return outcomeEnd(
    result.outcome,
    'code' in result ? result.code : result.outcome,
    owner === undefined ? {} : { [ATTRIBUTE.ownerNodeId]: owner },
  );
}

/** What a delivery to one connection says when it ends. */
export function deliveryEnd(delivery: Delivery): SpanEnd {
  const outcome = deliveryOutcome(delivery);
  return outcomeEnd(outcome, delivery.outcome === 'rejected' ? delivery.code : outcome);
}

/** What a fan-out says when it ends. Slow and dropped clients are their own trouble, not a failure of it. */
export function fanOutEnd(fanOut: FanOut): SpanEnd {
  const { taken, slow, dropped } = fanOut;
  return {
    attributes: {
      [ATTRIBUTE.outcome]: fanOutOutcome(fanOut),
      [ATTRIBUTE.taken]: taken,
      [ATTRIBUTE.slow]: slow,
      [ATTRIBUTE.dropped]: dropped,
    },
  };
}

/** What a publication says when it ends. */
export function publicationEnd(receipt: BroadcastReceipt | PublishReceipt): SpanEnd {
  const outcome = publicationOutcome(receipt);
  return outcomeEnd(
    outcome,
    outcome,
    'nodes' in receipt ? { [ATTRIBUTE.nodes]: receipt.nodes } : {},
  );
}

/** A delivery in the words of a receipt. */
export function deliveryOutcome({ outcome }: Delivery): Outcome {
  return outcome === 'closed' ? 'not-connected' : outcome;
}

/** A fan-out in the words of a receipt: the best that became of it for anybody. */
export function fanOutOutcome({ taken, slow, dropped }: FanOut): Outcome {
  if (taken > 0) return 'delivered';
  if (slow > 0) return 'buffered';
  return dropped > 0 ? 'rejected' : 'not-connected';
}

/** A publication in the words of a receipt: kept in the log, handed over, or not brought to the cluster. */
export function publicationOutcome(receipt: BroadcastReceipt | PublishReceipt): Outcome {
  if ('degraded' in receipt) return 'unavailable';
  return receipt.id === undefined ? 'routed' : 'stored';
}

function outcomeEnd(outcome: Outcome, failure: string, attributes: Attributes = {}): SpanEnd {
  const told = { [ATTRIBUTE.outcome]: outcome, ...attributes };
  return FAILURES.has(outcome) ? { attributes: told, failure } : { attributes: told };
}
