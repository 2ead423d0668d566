import type { Message } from '../../contracts/cluster-coordinator.js';
import type { Delivery } from '../../contracts/connection-store.js';
import type { SendResult } from '../../contracts/receipt.js';
import { SseError } from '../../errors/sse-error.js';
import { publishCommand } from '../../redis/publish-command.js';
import { redisErrorCode } from '../../redis/redis-failure.js';
import { sendScript, type SendReply } from '../../redis/scripts/send-script.js';
import { encodeAck, encodeAcks, MAX_ACKS, type Ack } from '../wire/ack-frame.js';
import { nodeIdOf } from '../wire/incarnation.js';
import { encodeMessage, type MessageFrame } from '../wire/message-frame.js';
import type { ClusterNode } from './cluster-node.js';
import type { NodeChannel } from './node-channel.js';
import { PendingSend } from './pending-send.js';

/** Milliseconds after the call at which a message is handed over again, unless it was answered. */
const ATTEMPTS = [0, 250, 750, 1_750];
/** What encoding makes of `limits.maxEventBytes` at most: a `data: ` for each line break, and a name. */
const mostBytes = (maxEventBytes: number): number => 7 * maxEventBytes + 1_024;

/**
 * Hands messages to the node that owns their connection, and says what became of them: what the owner answered, or what
 * is certain without an answer, or that it is unknown. An attempt without an answer is repeated with the same message id,
 * after a new look-up, so it follows a takeover; the owner recognises what it had.
 */
export class MessageRouter {
  readonly #pending = new Map<string, PendingSend>();
  readonly #acks = new Map<string, string[]>();
  #sends = 0;

  constructor(
    private readonly node: ClusterNode,
    private readonly channel: NodeChannel,
  ) {}

  /** Sends that wait for an answer. */
  get pending(): number {
    return this.#pending.size;
  }

  async send(message: Message): Promise<SendResult> {
    this.#sends += 1;
    const name = this.#sends.toString(36);
    if (message.ack === 'none') return this.#handOver(message, `${name}.0`);
    const pending = new PendingSend(message.deadline);
    this.#pending.set(name, pending);
    try {
      return await this.#deliver(message, name, pending);
    } finally {
      pending.end();
      this.#pending.delete(name);
    }
  }

  /** Sends that wait although their time is over. */
  overdue(): PendingSend[] {
    return [...this.#pending.values()].filter(({ over }) => over);
  }

  /** Ends the wait of a send and forgets it. */
  abandon(send: PendingSend): void {
    send.end();
    for (const [name, pending] of this.#pending) if (pending === send) this.#pending.delete(name);
  }

  /** A message for a connection of this node. */
  onMessage(token: string, message: MessageFrame): void {
    const delivery = this.#deliveryOf(token, message);
    if (message.ack) this.#acknowledge(message.from, { attempt: message.attempt, delivery });
  }

  /** This node's own limit holds for what others send as well. */
  #deliveryOf(token: string, message: MessageFrame): Delivery {
    const { listener, options } = this.node;
    const { connectionId, messageId, bytes, trace } = message;
    if (bytes.length > mostBytes(options.limits.maxEventBytes)) {
      return { outcome: 'rejected', code: 'EVENT_TOO_LARGE' };
    }
    return listener.onMessage(connectionId, token, messageId, { bytes }, trace);
  }

  onAcks(from: string, acks: readonly Ack[]): void {
    for (const { attempt, delivery } of acks) {
      const [name = '', number] = attempt.split('.');
      this.#pending.get(name)?.onAnswer(Number(number), delivery, from);
    }
  }

  /** A node died: what it has not answered it will not answer any more. */
  onDead(inc: string): void {
    for (const pending of this.#pending.values()) pending.onDead(inc);
  }

  /** Ends every wait. */
  close(): void {
    for (const pending of this.#pending.values()) pending.end();
  }

  async #deliver(message: Message, name: string, pending: PendingSend): Promise<SendResult> {
    const { gateway } = this.node;
    let silentLife: number | undefined;
    for (const [attempt, at] of ATTEMPTS.entries()) {
      const answer = await pending.answerBy(at);
      if (answer !== undefined && answer !== 'again') return answer;
      if (pending.over) break;
      // The one before is on its way; another would come behind it, and pile up in a Redis that is frozen.
      if (!gateway.cluster && silentLife === gateway.life) continue;
      const { life } = gateway;
      if (attempt > 0)
        this.node.telemetry.retrying('send', answer === 'again' ? 'not-connected' : 'unanswered');
      const result = await this.#attempt(message, `${name}.${attempt}`, pending, attempt);
      if (result === 'silent') silentLife = life;
      else if (result !== undefined) return result;
    }
    const last = await pending.answerBy(Infinity);
    return last === undefined || last === 'again' ? pending.conclusion() : last;
  }

  /** The result, when it is certain without an answer; `silent` when Redis has not even said that it was published. */
  async #attempt(
    message: Message,
    name: string,
    pending: PendingSend,
    attempt: number,
  ): Promise<SendResult | 'silent' | undefined> {
    pending.onSent(attempt);
    const { reachable } = this.node.gateway;
    let reply: SendReply;
    try {
      reply = await this.#publish(message, name, true);
    } catch (error) {
      if (!SseError.is(error, 'UNAVAILABLE')) throw error;
      // It may have been published all the same, unless there was no connection to publish on when it began.
      if (!reachable) return unreached(pending, attempt);
      return redisErrorCode(error.cause) === undefined ? 'silent' : undefined;
    }
    if (reply.status === 'ROUTED') {
      const { countsReceivers } = this.node.gateway.keys;
      if (countsReceivers && reply.receivers === 0) return unreached(pending, attempt);
      pending.onRouted(attempt, reply.inc);
      return undefined;
    }
    pending.onUnsent(attempt, 'not-connected');
    return pending.doubtful ? undefined : { outcome: 'not-connected' };
  }

  async #handOver(message: Message, name: string): Promise<SendResult> {
    const { gateway } = this.node;
    const { reachable } = gateway;
    try {
      const reply = await this.#publish(message, name, false);
      if (reply.status !== 'ROUTED') return { outcome: 'not-connected' };
      return gateway.keys.countsReceivers && reply.receivers === 0
        ? { outcome: 'unavailable' }
        : { outcome: 'routed', nodeId: nodeIdOf(reply.inc) };
    } catch (error) {
      if (!SseError.is(error, 'UNAVAILABLE')) throw error;
      return { outcome: reachable ? 'unknown' : 'unavailable' };
    }
  }

  #publish(message: Message, attempt: string, ack: boolean): Promise<SendReply> {
    const { gateway, inc } = this.node;
    const { connectionId, messageId, frame, trace } = message;
    const { bytes } = frame;
    const encoded = encodeMessage({
      from: inc,
      attempt,
      ack,
      connectionId,
      messageId,
      trace,
      bytes,
    });
    return gateway.run(sendScript, {
      partition: gateway.keys.partitionOf(connectionId),
      conn: connectionId,
      pubCommand: publishCommand(gateway.keys.nodeMode),
      payload: this.channel.sealed(encoded),
    });
  }

  /** Acks to one sender of one tick leave together. */
  #acknowledge(to: string, ack: { attempt: string; delivery: Delivery }): void {
    const lines = this.#acks.get(to);
    if (lines !== undefined) {
      lines.push(encodeAck(ack));
      if (lines.length >= MAX_ACKS) this.#flushAcks();
      return;
    }
    if (this.#acks.size === 0) setImmediate(() => this.#flushAcks());
    this.#acks.set(to, [encodeAck(ack)]);
  }

  #flushAcks(): void {
    for (const [to, lines] of this.#acks) {
      this.channel.publish(to, encodeAcks(this.node.inc, lines)).catch((error: unknown) => {
        // The sender asks again.
        this.node.logger.debug('an acknowledgement was not sent', { error });
      });
    }
    this.#acks.clear();
  }
}

/** It certainly reached nobody. That may be the blink of a reconnection, so one more attempt is made. */
function unreached(pending: PendingSend, attempt: number): SendResult | undefined {
  pending.onUnsent(attempt, 'unavailable');
  return attempt > 0 && !pending.doubtful ? { outcome: 'unavailable' } : undefined;
}
