import type { EventOptions, LocalReceipt, LocalResult } from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import type { SseErrorCode } from '../errors.js';
import type { ConnectionEnvironment } from './environment.js';

/** Sends an event to a connection of this node. @throws SseError as `SseConnection.send` does */
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
    messageId: environment.messageIds.next(),
    nodeId,
    startedAt: performance.now(),
  };
  const prepared = encoder.prepare(event, data, options);
  const result = 'refused' in prepared ? rejected(prepared.refused) : connection.deliver(prepared.frame);
  const receipt = localReceipt(subject, result);
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

/** The receipt of a send on this node. */
export function localReceipt(subject: ReceiptSubject, result: LocalResult): LocalReceipt {
  const { connectionId, messageId, nodeId, startedAt } = subject;
  const base = { connectionId, messageId, ms: performance.now() - startedAt };
  switch (result.outcome) {
    case 'delivered':
    case 'buffered':
      return { outcome: result.outcome, ...base, nodeId };
    case 'not-connected':
      return { outcome: 'not-connected', ...base };
    case 'rejected':
      return { outcome: 'rejected', ...base, nodeId, code: result.code };
  }
}

/** The event was accepted and leaves with this tick. */
export const DELIVERED: LocalResult = { outcome: 'delivered' };
/** The event waits in the send buffer. */
export const BUFFERED: LocalResult = { outcome: 'buffered' };
/** The connection has stopped, or this node does not have it. */
export const NOT_CONNECTED: LocalResult = { outcome: 'not-connected' };

/** The event has an id, which would overwrite the position from which its client resumes. */
export const OTHER_ID: LocalResult = { outcome: 'rejected', code: 'INVALID_EVENT_ID' };

const DELIVERED_BEFORE: LocalResult = { outcome: 'delivered', duplicate: true };
const BUFFERED_BEFORE: LocalResult = { outcome: 'buffered', duplicate: true };

/** The result of a message that the connection accepted before. */
export function repeated({ outcome }: LocalResult): LocalResult {
  return outcome === 'delivered' ? DELIVERED_BEFORE : BUFFERED_BEFORE;
}

/** The result of an event that was refused before any write. */
export function rejected(code: SseErrorCode): LocalResult {
  return { outcome: 'rejected', code };
}
