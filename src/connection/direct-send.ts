import type { EventOptions, LocalReceipt, LocalResult } from '../contracts/events.js';
import type { LocalConnection, MessageResults } from '../contracts/store.js';
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

/** The result of an event that was refused before any write. */
export function rejected(code: SseErrorCode): LocalResult {
  return { outcome: 'rejected', code };
}

/** Message ids remembered per connection: as many as a busy one gets while a lost connection to Redis is restored. */
export const MAX_REMEMBERED = 4_096;
/** How long a message id is remembered, in milliseconds: longer than any retry of a send takes. */
export const REMEMBER_MS = 60_000;

/** The results of the messages a connection got lately: a repeated message gets its first result and is not written again. */
export class MessageMemory implements MessageResults {
  readonly #results = new Map<string, { readonly result: LocalResult; readonly at: number }>();

  get size(): number {
    return this.#results.size;
  }

  /** The result of the message with this id, if it came within the last minute. */
  recall(messageId: string, now: number): LocalResult | undefined {
    const known = this.#results.get(messageId);
    return known && now - known.at <= REMEMBER_MS ? known.result : undefined;
  }

  remember(messageId: string, result: LocalResult, now: number): void {
    this.#results.delete(messageId);
    this.#results.set(messageId, { result, at: now });
    for (const [oldest, { at }] of this.#results) {
      if (this.#results.size <= MAX_REMEMBERED && now - at <= REMEMBER_MS) return;
      this.#results.delete(oldest);
    }
  }
}

/** Connection ids of which the results are kept after the end of their connections. */
const MAX_FORMER = 10_000;

/** The results of connections that ended within the last minute: a message may be sent again after its client has moved. */
export class FormerResults {
  /** In the order in which the connections ended. */
  readonly #former = new Map<string, { readonly results: readonly MessageResults[]; readonly at: number }>();

  /** A connection of this id has ended. @param now by the monotonic clock */
  keep(connectionId: string, results: MessageResults, now: number): void {
    const earlier = this.#former.get(connectionId)?.results ?? [];
    this.#former.delete(connectionId);
    this.#former.set(connectionId, { results: [...earlier.slice(-3), results], at: now });
    for (const [oldest, { at }] of this.#former) {
      if (this.#former.size <= MAX_FORMER && now - at <= REMEMBER_MS) return;
      this.#former.delete(oldest);
    }
  }

  recall(connectionId: string, messageId: string, now: number): LocalResult | undefined {
    for (const results of this.#former.get(connectionId)?.results ?? []) {
      const result = results.recall(messageId, now);
      if (result !== undefined) return result;
    }
    return undefined;
  }
}
