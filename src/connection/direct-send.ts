import type { LocalConnection } from '../contracts/connection-store.js';
import type { LocalReceipt } from '../contracts/receipt.js';
import type { EventOptions } from '../contracts/sse-event.js';
import type { ConnectionEnvironment } from './connection-environment.js';
import { localReceipt, rejectedDelivery } from './local-receipt.js';

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
