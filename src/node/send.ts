import { localReceipt, NOT_CONNECTED, type ReceiptSubject, rejected, REMEMBER_MS } from '../connection/direct-send.js';
import type { Message, Publication } from '../contracts/cluster.js';
import type { Frame, LocalReceipt, LocalResult, Receipt, SendResult } from '../contracts/events.js';
import type { ClusterSendOptions, SendOptions } from '../contracts/service.js';
import type { SendSubject } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import type { PreparedEvent } from '../protocol/event-stream.js';
import { checkConnectionId, checkKey, mailboxTopic } from '../protocol/names.js';
import { withTimeout } from '../time.js';
import type { Confirmations } from './confirmations.js';
import type { SseNode } from './node.js';

type Subject = ReceiptSubject & SendSubject;

const TOO_MANY: SendResult = { outcome: 'rejected', code: 'MESSAGE_LIMIT' };

/**
 * Sends to one connection, on this node or another. A durable send is an entry of the log in a topic that only the addressed
 * connection follows, its mailbox: it is kept until the client has it.
 */
export class MessageSender {
  readonly #doubts = new Doubts();

  constructor(private readonly node: SseNode) {}

  sendLocal(connectionId: string, event: string, data: unknown, options: SendOptions): LocalReceipt {
    const { events } = this.node.telemetry;
    const subject = this.#subject(connectionId, event, options);
    const receipt = events.sending(subject, () => {
      const prepared = this.node.encoder.prepare(event, data, options);
      return 'refused' in prepared
        ? localReceipt(subject, rejected(prepared.refused))
        : localReceipt(subject, this.#deliver(subject, prepared.frame, options));
    });
    events.sent('connection', event, receipt.outcome);
    return receipt;
  }

  async send(connectionId: string, event: string, data: unknown, options: ClusterSendOptions): Promise<Receipt> {
    const { events } = this.node.telemetry;
    const subject = this.#subject(connectionId, event, options);
    const receipt = await events.sending(subject, () => this.#sendAnywhere(subject, data, options));
    events.sent('connection', event, receipt.outcome);
    return receipt;
  }

  #sendAnywhere(subject: Subject, data: unknown, options: ClusterSendOptions): Receipt | Promise<Receipt> {
    if (options.durable === true) this.#checkDurable(options);
    const { encoder } = this.node;
    if (options.ack === 'client') return this.#sendConfirmed(subject, data, options);
    return this.#sendPrepared(subject, encoder.prepare(subject.event, data, options), options);
  }

  /** @throws SseError `INVALID_OPTION` when clients do not confirm */
  async #sendConfirmed(subject: Subject, data: unknown, options: ClusterSendOptions): Promise<Receipt> {
    const { encoder, options: settings } = this.node;
    const confirmations = this.node.confirming("ack: 'client'");
    const { event, messageId, startedAt } = subject;
    const prepared = encoder.prepare(event, data, { ...options, confirm: messageId });
    const receipt = await this.#sendPrepared(subject, prepared, options);
    const { outcome } = receipt;
    if (outcome !== 'delivered' && outcome !== 'buffered' && outcome !== 'stored') return receipt;
    const { deadline = settings.send.deadline } = options;
    const confirmed = await this.#whetherConfirmed(confirmations, receipt, deadline - (performance.now() - startedAt));
    return { ...(confirmed ?? receipt), ms: performance.now() - startedAt };
  }

  /** The receipt of a message that its client confirmed. Until then the outcome is as certain as it is. */
  async #whetherConfirmed(confirmations: Confirmations, sent: Receipt, ms: number): Promise<Receipt | undefined> {
    if (ms <= 0) return undefined;
    const { connectionId, messageId } = sent;
    const { cluster, options } = this.node;
    const result = await this.#limited<SendResult | undefined>(undefined, async () => {
      const here = this.node.connectionOf(connectionId);
      if (here === undefined) {
        return this.#answerTo(cluster.messenger.isConfirmed(connectionId, messageId, Math.floor(ms)), ms);
      }
      const confirmed = await confirmations.isConfirmed(here, messageId, ms);
      return confirmed ? { outcome: 'confirmed', nodeId: options.node.id } : undefined;
    });
    return result && { ...sent, ...result };
  }

  #sendPrepared(subject: Subject, prepared: PreparedEvent, options: ClusterSendOptions): Receipt | Promise<Receipt> {
    if ('refused' in prepared) return localReceipt(subject, rejected(prepared.refused));
    if (this.node.closed) return closedReceipt(subject);
    if (options.durable === true) return this.#route(subject, prepared.frame, options);
    const doubt = options.messageId === undefined ? undefined : this.#doubts.of(subject);
    if (doubt !== undefined) return this.#again(subject, prepared.frame, options, doubt);
    return this.#sendOnce(subject, prepared.frame, options);
  }

  #sendOnce(subject: Subject, frame: Frame, options: ClusterSendOptions): Receipt | Promise<Receipt> {
    const result = this.#deliver(subject, frame, options);
    return result.outcome === 'not-connected' ? this.#route(subject, frame, options) : localReceipt(subject, result);
  }

  /** Sends a message again whose outcome was unknown, unless a node delivered it. */
  async #again(subject: Subject, frame: Frame, options: ClusterSendOptions, doubt: Doubt): Promise<Receipt> {
    const { connectionId, messageId, startedAt } = subject;
    const { nodeId } = doubt;
    const unknown: SendResult = { outcome: 'unknown', ...(nodeId !== undefined && { nodeId }) };
    const { deadline = this.node.options.send.deadline } = options;
    const age = startedAt - doubt.sentAt;
    const question = this.node.cluster.messenger.outcomeOf({ connectionId, messageId, nodeId, age });
    const known = await withTimeout(question, deadline, () => unknown).catch(() => unknown);
    const ms = performance.now() - startedAt;
    if (known !== undefined) return { connectionId, messageId, ms, ...known };
    this.#doubts.end(subject);
    return this.#sendOnce(subject, frame, { ...options, deadline: Math.max(1, deadline - ms) });
  }

  async #route(subject: Subject, frame: Frame, options: ClusterSendOptions): Promise<Receipt> {
    const { connectionId, messageId, startedAt } = subject;
    const { send } = this.node.options;
    const { ack = send.ack, deadline = send.deadline } = options;
    // The client is asked once the owner has the event.
    const awaited = ack === 'none' ? ack : 'owner';
    const result = await this.node.telemetry.events.routing(subject, trace =>
      this.#limited<SendResult>(TOO_MANY, () => {
        const named = options.messageId !== undefined;
        const message: Message = { connectionId, messageId, frame, ack: awaited, deadline, named };
        const carrying = trace === undefined ? message : { ...message, trace };
        if (options.durable === true) return this.#store(carrying);
        return this.node.cluster.messenger.send(carrying);
      }),
    );
    if (result.outcome === 'unknown' && options.durable !== true) this.#doubts.add(subject, result.nodeId);
    // In this order: V8 adds fields to a copied object six times as slowly as it copies fields.
    return { connectionId, messageId, ms: performance.now() - startedAt, ...result };
  }

  /** Does what another node takes part in, unless as much is under way as may be. */
  async #limited<R>(refused: R, work: () => Promise<R>): Promise<R> {
    if (this.node.pendingSends >= this.node.options.send.maxPending) return refused;
    this.node.pendingSends += 1;
    try {
      return await work();
    } finally {
      this.node.pendingSends -= 1;
    }
  }

  /** Keeps the event, and says whether its client has it already. */
  async #store(message: Message): Promise<SendResult> {
    const startedAt = performance.now();
    const { cluster } = this.node;
    const { messenger } = cluster;
    const result = await cluster.publish(this.#mail(message), message.deadline);
    if (result.outcome === 'unavailable') return this.#deliverUnstored(message) ?? result;
    if (result.outcome === 'unknown') return result;
    const stored: SendResult = { outcome: 'stored' };
    const { cursor } = result;
    if (cursor === undefined || message.ack === 'none') return stored;
    const left = message.deadline - (performance.now() - startedAt);
    return (await this.#answerTo(messenger.hasReached(message.connectionId, cursor), left)) ?? stored;
  }

  /** The answer to a question about an event that has its outcome, whatever becomes of the question. */
  async #answerTo(question: Promise<SendResult | undefined>, ms: number): Promise<SendResult | undefined> {
    try {
      return await withTimeout(question, ms, () => undefined);
    } catch (error) {
      if (!SseError.is(error, 'UNAVAILABLE')) throw error;
      return undefined;
    }
  }

  /** The event is certainly not in the log, so its client gets it now and here, or not at all. */
  #deliverUnstored({ connectionId, messageId, frame }: Message): SendResult | undefined {
    const result = this.node.store.get(connectionId)?.deliverOnce(messageId, frame);
    if (result?.outcome !== 'delivered' && result?.outcome !== 'buffered') return undefined;
    return { outcome: result.outcome, nodeId: this.node.options.node.id };
  }

  #mail({ connectionId, messageId, frame, trace }: Message): Publication {
    const { maxEntries, ttl } = this.node.options.mailbox;
    const topic = mailboxTopic(connectionId);
    return {
      topic,
      body: frame.bytes,
      retention: { maxEntries, ttl },
      // A publication without an answer is repeated, and a send may be as well.
      idempotencyKey: messageId,
      ...(trace === undefined ? {} : { trace }),
    };
  }

  /** @throws SseError `INVALID_OPTION` when mailboxes are off, `INVALID_EVENT_ID` for an id, which the log gives */
  #checkDurable({ id }: ClusterSendOptions): void {
    if (!this.node.options.mailbox.enabled) {
      throw new SseError(
        'INVALID_OPTION',
        'durable sends need mailbox.enabled, got false; switch it on, on every node',
      );
    }
    if (id !== undefined) {
      throw new SseError(
        'INVALID_EVENT_ID',
        'the log gives a durable event its id, got one; leave it out, or use messageId',
      );
    }
  }

  #deliver({ connectionId }: ReceiptSubject, frame: Frame, { messageId }: SendOptions): LocalResult {
    const connection = this.node.connectionOf(connectionId);
    if (connection === undefined) return NOT_CONNECTED;
    // Only an id that the caller chose can come a second time.
    return messageId === undefined ? connection.deliver(frame) : connection.deliverOnce(messageId, frame);
  }

  #subject(connectionId: string, event: string, { messageId, durable }: ClusterSendOptions): Subject {
    const startedAt = performance.now();
    checkConnectionId(connectionId);
    if (messageId !== undefined) checkKey('a message id', messageId);
    return {
      connectionId,
      event,
      here: durable !== true && this.node.connectionOf(connectionId) !== undefined,
      messageId: messageId ?? this.node.environment.messageIds.next(),
      nodeId: this.node.options.node.id,
      startedAt,
    };
  }
}

function closedReceipt({ connectionId, messageId, startedAt }: ReceiptSubject): Receipt {
  return { outcome: 'unavailable', code: 'CLOSED', connectionId, messageId, ms: performance.now() - startedAt };
}

/** A message whose outcome is unknown. */
interface Doubt {
  /** The node that did not answer, where it is known. */
  readonly nodeId: string | undefined;
  /** By the monotonic clock. */
  readonly sentAt: number;
}

const MOST_DOUBTS = 10_000;

/** The messages of the last minute of which this node does not know the outcome. */
class Doubts {
  /** By connection id and message id, in the order in which they were sent. */
  readonly #doubts = new Map<string, Doubt>();

  of(subject: ReceiptSubject): Doubt | undefined {
    const doubt = this.#doubts.get(keyOf(subject));
    return doubt !== undefined && performance.now() - doubt.sentAt <= REMEMBER_MS ? doubt : undefined;
  }

  add(subject: ReceiptSubject, nodeId: string | undefined): void {
    const key = keyOf(subject);
    this.#doubts.delete(key);
    this.#doubts.set(key, { nodeId, sentAt: subject.startedAt });
    for (const [oldest, { sentAt }] of this.#doubts) {
      if (this.#doubts.size <= MOST_DOUBTS && performance.now() - sentAt <= REMEMBER_MS) return;
      this.#doubts.delete(oldest);
    }
  }

  end(subject: ReceiptSubject): void {
    this.#doubts.delete(keyOf(subject));
  }
}

/** Neither id has a line break. */
function keyOf({ connectionId, messageId }: ReceiptSubject): string {
  return `${connectionId}\n${messageId}`;
}
