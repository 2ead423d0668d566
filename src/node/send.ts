import {
  localReceipt,
  NOT_CONNECTED,
  type ReceiptSubject,
  rejected,
} from '../connection/direct-send.js';
import type { Message } from '../contracts/cluster.js';
import type { Frame, LocalReceipt, Receipt, SendResult } from '../contracts/events.js';
import type { ClusterSendOptions, SendOptions } from '../contracts/service.js';
import type { SendSubject } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import { checkConnectionId, checkKey } from '../protocol/names.js';
import type { Lifecycle } from './lifecycle.js';
import type { Mailboxes } from './mailboxes.js';
import type { SseNode } from './node.js';
import { unanswered, withinDeadline } from './within-deadline.js';

type Subject = ReceiptSubject & SendSubject;

/** Sends to one connection, here or wherever it is, and says what became of it. */
export class MessageSender {
  constructor(
    private readonly node: SseNode,
    private readonly lifecycle: Lifecycle,
    private readonly mailboxes: Mailboxes,
  ) {}

  sendLocal(
    connectionId: string,
    event: string,
    data: unknown,
    options: SendOptions,
  ): LocalReceipt {
    const { events } = this.node.telemetry;
    const subject = this.#subject(connectionId, event, options);
    const receipt = events.sending(subject, () => {
      const prepared = this.node.encoder.prepare(event, data, options);
      return 'refused' in prepared
        ? localReceipt(subject, rejected(prepared.refused))
        : this.#deliver(subject, prepared.frame, options);
    });
    events.sent('connection', event, receipt.outcome);
    return receipt;
  }

  async send(
    connectionId: string,
    event: string,
    data: unknown,
    options: ClusterSendOptions,
  ): Promise<Receipt> {
    const { events } = this.node.telemetry;
    const subject = this.#subject(connectionId, event, options);
    const receipt = await events.sending(subject, () => this.#sendAnywhere(subject, data, options));
    events.sent('connection', event, receipt.outcome);
    return receipt;
  }

  #sendAnywhere(
    subject: Subject,
    data: unknown,
    options: ClusterSendOptions,
  ): Receipt | Promise<Receipt> {
    if (options.durable === true) this.mailboxes.check(options);
    const prepared = this.node.encoder.prepare(subject.event, data, options);
    if ('refused' in prepared) return localReceipt(subject, rejected(prepared.refused));
    if (options.durable === true) return this.#route(subject, prepared.frame, options);
    const local = this.#deliver(subject, prepared.frame, options);
    return local.outcome === 'not-connected'
      ? this.#route(subject, prepared.frame, options)
      : local;
  }

  async #route(subject: Subject, frame: Frame, options: ClusterSendOptions): Promise<Receipt> {
    const { connectionId, messageId, startedAt } = subject;
    const { send } = this.node.options;
    const { ack = send.ack, deadline = send.deadline } = options;
    const message = { connectionId, messageId, frame, ack, deadline };
    const result = await this.node.telemetry.events.routing(subject, trace =>
      this.#limited(() => {
        if (options.durable === true) return this.mailboxes.send({ ...message, trace });
        return this.#hand(trace === undefined ? message : { ...message, trace });
      }),
    );
    return { ...result, connectionId, messageId, ms: performance.now() - startedAt };
  }

  async #limited(work: () => Promise<SendResult>): Promise<SendResult> {
    if (this.node.pendingSends >= this.node.options.send.maxPending)
      return { outcome: 'rejected', code: 'MESSAGE_LIMIT' };
    this.node.pendingSends += 1;
    try {
      return await work();
    } finally {
      this.node.pendingSends -= 1;
    }
  }

  #hand(message: Message): Promise<SendResult> {
    const { policy, coordinator } = this.node;
    return withinDeadline(policy, 'send', message.deadline, async (handover, gaveUp) => {
      await this.lifecycle.start();
      if (gaveUp.aborted) return unanswered(handover);
      const before = handover.over;
      handover.over = true;
      const result = await coordinator.messenger.send(message);
      if (result.outcome === 'not-connected' && before) return unanswered(handover);
      if (result.outcome !== 'unavailable') return result;
      handover.over = before;
      // Where only the owner cannot be reached, the coordinator has tried again already.
      if (coordinator.status().reachable) return unanswered(handover);
      // The policy may repeat it, and counts it as a failure of the cluster.
      throw new SseError('UNAVAILABLE', 'the cluster cannot be reached; send again later');
    });
  }

  #deliver(subject: ReceiptSubject, frame: Frame, options: SendOptions): LocalReceipt {
    const connection = this.node.store.get(subject.connectionId);
    if (connection === undefined) return localReceipt(subject, NOT_CONNECTED);
    // Only an id that the caller chose can come a second time.
    const result =
      options.messageId === undefined
        ? connection.deliver(frame)
        : connection.deliverOnce(options.messageId, frame);
    return localReceipt(subject, result);
  }

  #subject(
    connectionId: string,
    event: string,
    { messageId, durable }: ClusterSendOptions,
  ): Subject {
    const startedAt = performance.now();
    checkConnectionId(connectionId);
    if (messageId !== undefined) checkKey('a message id', messageId);
    return {
      connectionId,
      event,
      here: durable !== true && this.node.store.get(connectionId) !== undefined,
      messageId: messageId ?? this.node.environment.messageIds.next(),
      nodeId: this.node.options.node.id,
      startedAt,
    };
  }
}
