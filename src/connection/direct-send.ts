import { randomBytes } from 'node:crypto';
import type { EventOptions, Frame, LocalReceipt, LocalResult } from '../contracts/events.js';
import type { DirectMessage, LocalConnection, MessageResults } from '../contracts/store.js';
import type { EventTelemetry } from '../contracts/telemetry.js';
import type { SseErrorCode } from '../errors.js';
import { type EventEncoder, NOTHING } from '../protocol/event-stream.js';
import { Periodic } from '../time.js';

/** What direct sends of one node share. */
export interface SendEnvironment {
  readonly nodeId: string;
  readonly encoder: EventEncoder;
  readonly messageIds: MessageIds;
  readonly events: Pick<EventTelemetry, 'sent'>;
}

/** Sends an event to a connection of this node. @throws SseError as `SseConnection.send` does */
export function directSend(
  connection: Pick<LocalConnection, 'id' | 'deliver'>,
  environment: SendEnvironment,
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

/**
 * What a delivery would answer now: whether the socket of a connection took everything. The frames that this tick has gathered
 * are written for that.
 */
export function presentOutcome(connection: Pick<LocalConnection, 'deliver'>): LocalResult['outcome'] {
  return connection.deliver(NOTHING).outcome;
}

/** Makes message ids that no other send has. */
export class MessageIds {
  #count = 0;

  /** @param prefix keeps the ids of two nodes apart */
  constructor(private readonly prefix = randomBytes(6).toString('hex')) {}

  next(): string {
    this.#count += 1;
    return `${this.prefix}-${this.#count.toString(36)}`;
  }
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
  const ms = performance.now() - startedAt;
  // Field by field: with a copied object V8 takes six times as long.
  switch (result.outcome) {
    case 'delivered':
    case 'buffered':
      return { outcome: result.outcome, connectionId, messageId, ms, nodeId };
    case 'not-connected':
      return { outcome: 'not-connected', connectionId, messageId, ms };
    case 'rejected':
      return { outcome: 'rejected', connectionId, messageId, ms, nodeId, code: result.code };
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

/** Message ids remembered per connection: as many as a busy one gets while a lost connection to Redis is restored. */
export const MAX_REMEMBERED = 4_096;
/** How long a message id is remembered, in milliseconds: longer than any retry of a send takes. */
export const REMEMBER_MS = 60_000;

/** The results of the messages a connection got lately: a repeated message gets its first result and is not written again. */
export class MessageMemory implements MessageResults {
  readonly #results = new Map<string, { readonly result: LocalResult; readonly at: number }>();
  /**
   * The ids from the oldest on. A new iterator passes the places of all entries that were deleted, so it is kept from one
   * message to the next. Not for longer than {@link expire} allows: it holds each table that the map had since.
   */
  #oldest: Iterator<string, unknown> | undefined;

  get size(): number {
    return this.#results.size;
  }

  /** The result of the message with this id, if it came within the last minute. @param now by the monotonic clock */
  recall(messageId: string, now: number): LocalResult | undefined {
    const known = this.#results.get(messageId);
    return known && now - known.at <= REMEMBER_MS ? known.result : undefined;
  }

  remember(messageId: string, result: LocalResult, now: number): void {
    this.#results.delete(messageId);
    this.#results.set(messageId, { result, at: now });
    if (this.#results.size <= MAX_REMEMBERED) return;
    this.#oldest ??= this.#results.keys();
    const oldest = this.#oldest.next();
    if (oldest.done !== true) this.#results.delete(oldest.value);
  }

  /** Forgets what came more than a minute ago. */
  expire(now: number): void {
    this.#oldest = undefined;
    for (const [oldest, { at }] of this.#results) {
      if (now - at <= REMEMBER_MS) return;
      this.#results.delete(oldest);
    }
  }
}

/** A connection that {@link deliverAll} writes to. */
interface Receiver {
  /** Accepts a frame. `DELIVERED`: {@link write} writes it and says what became of it. */
  put(frame: Frame): LocalResult;
  /** Writes the frames that were put, at once. The result of all of them. */
  write(): LocalResult;
}

/** Bytes of the frames that one write joins, at most: fewer than make the connection write by itself. */
const MOST_JOINED = 16 * 1024;

/** Delivers messages to a connection in their order, each once. Small ones share a write, and so its result. */
export function deliverAll(
  receiver: Receiver,
  memory: MessageMemory,
  messages: readonly DirectMessage[],
): LocalResult[] {
  const now = performance.now();
  const results: LocalResult[] = [];
  /** Messages that were put and are not written, by id. */
  const unwritten = new Map<string, number>();
  let bytes = 0;
  const conclude = (at: number, messageId: string, result: LocalResult): void => {
    results[at] = result;
    if (result === DELIVERED || result === BUFFERED) memory.remember(messageId, result, now);
  };
  const write = (): void => {
    const result = receiver.write();
    for (const [messageId, at] of unwritten) conclude(at, messageId, result);
    unwritten.clear();
    bytes = 0;
  };
  // Frames of others must not fill the write that these messages share.
  if (messages.length > 1) write();
  for (const [at, { messageId, frame }] of messages.entries()) {
    const { length } = frame.bytes;
    if (unwritten.has(messageId) || (bytes > 0 && bytes + length > MOST_JOINED)) write();
    const earlier = memory.recall(messageId, now);
    const result = earlier === undefined ? receiver.put(frame) : repeated(earlier);
    if (result === DELIVERED) {
      unwritten.set(messageId, at);
      bytes += length;
    } else conclude(at, messageId, result);
  }
  if (unwritten.size > 0) write();
  return results;
}

/** Connection ids of which results are kept after the end of their connections. */
const MAX_FORMER = 10_000;
/** Of one id. */
const MOST_OF_ONE = 4;

/**
 * The message memories of all connections of a node, those that ended within the last minute included: a message may be sent
 * again after its client has moved. One periodic job forgets what is too old, of quiet connections too.
 */
export class MessageMemories {
  readonly #memories = new Set<MessageMemory>();
  /** Of connections that have stopped, by id, in the order in which they did. */
  readonly #former = new Map<string, readonly MessageMemory[]>();
  /** Their ids from the oldest on, kept as those of a memory are. */
  #oldest: Iterator<string, unknown> | undefined;
  readonly #job = new Periodic(() => this.#expire(), { everyMs: REMEMBER_MS / 4 });

  /** Looks after a memory until it is empty. */
  watch(memory: MessageMemory): void {
    this.#memories.add(memory);
    this.#job.start();
  }

  /** The connection has stopped. Its memory is kept until it is empty. */
  end(connectionId: string, memory: MessageMemory): void {
    const former = this.#former.get(connectionId) ?? [];
    this.#former.delete(connectionId);
    this.#former.set(connectionId, [...former.slice(1 - MOST_OF_ONE), memory]);
    if (this.#former.size <= MAX_FORMER) return;
    this.#oldest ??= this.#former.keys();
    const oldest = this.#oldest.next();
    if (oldest.done !== true) this.#former.delete(oldest.value);
  }

  /** The result of a message for a connection that has stopped. @param now by the monotonic clock */
  recall(connectionId: string, messageId: string, now: number): LocalResult | undefined {
    for (const memory of this.#former.get(connectionId) ?? []) {
      const result = memory.recall(messageId, now);
      if (result !== undefined) return result;
    }
    return undefined;
  }

  stop(): void {
    this.#job.stop();
    this.#memories.clear();
    this.#former.clear();
  }

  #expire(): void {
    const now = performance.now();
    this.#oldest = undefined;
    for (const memory of this.#memories) {
      memory.expire(now);
      if (memory.size === 0) this.#memories.delete(memory);
    }
    for (const [connectionId, memories] of this.#former) {
      if (memories.every(({ size }) => size === 0)) this.#former.delete(connectionId);
    }
    if (this.#memories.size === 0) this.#job.stop();
  }
}
