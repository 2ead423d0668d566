import type { EventOptions, LocalReceipt } from '../contracts/events.js';
import type { Delivery, LocalConnection } from '../contracts/store.js';
import type { SseErrorCode } from '../errors.js';
import type { ConnectionEnvironment } from './environment.js';

/** Sends an event to a connection that is at hand. @throws SseError for what is no event */
export function directSend(
  connection: Pick<LocalConnection, 'id' | 'deliver'>,
  environment: ConnectionEnvironment,
  event: string,
  data: unknown,
  options: EventOptions | undefined,
): LocalReceipt {
  const { nodeId, encoder, events } = environment;
  const subject = {
    connectionId: connection.id,
    messageId: environment.nextMessageId(),
    nodeId,
    startedAt: performance.now(),
  };
  const prepared = encoder.prepare(event, data, options);
  const refused = 'refused' in prepared;
  const delivery = refused
    ? rejectedDelivery(prepared.refused)
    : connection.deliver(prepared.frame);
  const receipt = localReceipt(subject, delivery);
  events.sent('connection', event, receipt.outcome);
  return receipt;
}

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

/** Most message ids remembered per connection: what comes to a busy one while a lost connection to Redis is restored. */
export const MAX_REMEMBERED = 4_096;
/** How long one is remembered, in milliseconds: longer than any retry of a send takes. */
export const REMEMBER_MS = 60_000;

/** What became of the messages a connection took lately, so that a repeated one is answered and not written again. */
export class MessageMemory {
  readonly #answers = new Map<string, { readonly delivery: Delivery; readonly at: number }>();

  get size(): number {
    return this.#answers.size;
  }

  /** The answer given to this message id, if it was taken within the last minute. */
  recall(messageId: string, now: number): Delivery | undefined {
    const answer = this.#answers.get(messageId);
    return answer && now - answer.at <= REMEMBER_MS ? answer.delivery : undefined;
  }

  remember(messageId: string, delivery: Delivery, now: number): void {
    this.#answers.delete(messageId);
    this.#answers.set(messageId, { delivery, at: now });
    for (const [oldest, { at }] of this.#answers) {
      if (this.#answers.size <= MAX_REMEMBERED && now - at <= REMEMBER_MS) return;
      this.#answers.delete(oldest);
    }
  }
}
