import {
  localReceipt,
  rejectedDelivery,
  type ReceiptSubject,
} from '../connection/local-receipt.js';
import type { Message } from '../contracts/cluster-coordinator.js';
import type { Frame } from '../contracts/frame.js';
import type { LocalReceipt, Receipt, SendResult } from '../contracts/receipt.js';
import type { ClusterSendOptions, SendOptions } from '../contracts/sse-service.js';
import { SseError, type SseErrorCode } from '../errors/sse-error.js';
import { checkConnectionId, checkKey } from '../protocol/text-rules.js';
import type { Lifecycle } from './lifecycle.js';
import type { SseNode } from './sse-node.js';

type Prepared = { readonly frame: Frame } | { readonly refused: SseErrorCode };

/** Sends to one connection, here or wherever it is, and says what became of it. */
export class MessageSender {
  #pending = 0;

  constructor(
    private readonly node: SseNode,
    private readonly lifecycle: Lifecycle,
  ) {}

  sendLocal(
    connectionId: string,
    event: string,
    data: unknown,
    options: SendOptions,
  ): LocalReceipt {
    const subject = this.#subject(connectionId, options);
    const prepared = this.#prepare(event, data, options);
    if ('refused' in prepared) return localReceipt(subject, rejectedDelivery(prepared.refused));
    return this.#deliver(subject, prepared.frame, options);
  }

  async send(
    connectionId: string,
    event: string,
    data: unknown,
    options: ClusterSendOptions,
  ): Promise<Receipt> {
    const subject = this.#subject(connectionId, options);
    const prepared = this.#prepare(event, data, options);
    if ('refused' in prepared) return localReceipt(subject, rejectedDelivery(prepared.refused));
    const local = this.#deliver(subject, prepared.frame, options);
    if (local.outcome !== 'not-connected') return local;
    const result = await this.#route(subject, prepared.frame, options);
    const { messageId, startedAt } = subject;
    return { ...result, connectionId, messageId, ms: performance.now() - startedAt };
  }

  async #route(
    { connectionId, messageId }: ReceiptSubject,
    frame: Frame,
    options: ClusterSendOptions,
  ): Promise<SendResult> {
    const { send } = this.node.options;
    if (this.#pending >= send.maxPending) return { outcome: 'rejected', code: 'MESSAGE_LIMIT' };
    const { ack = send.ack, deadline = send.deadline } = options;
    this.#pending += 1;
    try {
      return await this.#ask({ connectionId, messageId, frame, ack, deadline });
    } finally {
      this.#pending -= 1;
    }
  }

  /** Answers within the deadline, whatever the cluster and the policy do. */
  async #ask(message: Message): Promise<SendResult> {
    const { policy, coordinator } = this.node;
    const gaveUp = new AbortController();
    let handedOver = false;
    const unanswered = (): SendResult => ({ outcome: handedOver ? 'unknown' : 'unavailable' });
    const sent = policy.execute(
      'send',
      async () => {
        await this.lifecycle.start();
        if (gaveUp.signal.aborted) return unanswered();
        handedOver = true;
        return coordinator.send(message);
      },
      gaveUp.signal,
    );
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<SendResult>(resolve => {
      timer = setTimeout(() => {
        resolve(unanswered());
        gaveUp.abort();
      }, message.deadline);
    });
    try {
      return await Promise.race([sent, late]);
    } catch (error) {
      if (SseError.is(error, 'UNAVAILABLE')) return unanswered();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #deliver(subject: ReceiptSubject, frame: Frame, options: SendOptions): LocalReceipt {
    const connection = this.node.store.get(subject.connectionId);
    if (connection === undefined) return localReceipt(subject, { outcome: 'closed' });
    // Only an id that the caller chose can come a second time.
    const delivery =
      options.messageId === undefined
        ? connection.deliver(frame)
        : connection.deliverOnce(options.messageId, frame);
    return localReceipt(subject, delivery);
  }

  #subject(connectionId: string, { messageId }: SendOptions): ReceiptSubject {
    const startedAt = performance.now();
    checkConnectionId(connectionId);
    if (messageId !== undefined) checkKey('a message id', messageId);
    return {
      connectionId,
      messageId: messageId ?? this.node.nextMessageId(),
      nodeId: this.node.options.node.id,
      startedAt,
    };
  }

  #prepare(event: string, data: unknown, options: SendOptions): Prepared {
    try {
      return { frame: this.node.encoder.encode(event, data, options) };
    } catch (error) {
      if (SseError.is(error, 'EVENT_TOO_LARGE')) return { refused: error.code };
      throw error;
    }
  }
}
