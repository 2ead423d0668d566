import type { Message } from '../../contracts/cluster.js';
import type { LocalResult, SendResult } from '../../contracts/events.js';
import type { NodeMessage } from '../../contracts/listener.js';
import { SseError } from '../../errors.js';
import type { ClusterNode, NodeChannel } from './cluster-node.js';
import { type Ack, encodeAck, encodeAcks, encodeMessage, MAX_ACKS, type MessageFrame, nodeIdOf } from './frames.js';
import { Batches } from './batches.js';
import { type Partition, publishCommand } from './keys.js';
import type { NodeLeases } from './leases.js';
import type { RequestOf } from './script.js';
import { type SendAnswer, sendScript } from './scripts.js';
import type { NodeCommands } from './node-commands.js';
import { PendingSend, type Unsent } from './pending-send.js';

/** Milliseconds after the call at which a message is published again, unless it was answered. */
const ATTEMPTS = [0, 250, 750, 1_750];
/** Bytes of an encoded event at most: a `data: ` for each line break, and a name. */
const mostBytes = (maxEventBytes: number): number => 7 * maxEventBytes + 1_024;

/** Milliseconds for which Redis knows who got a named message: as long as that node remembers what became of it. */
const MARK_MS = 60_000;
/** Former owners that one attempt asks. */
const MOST_FORMER = 3;

/** Messages that one script call dispatches, or their bytes: one message more for each of these. */
const MOST_PER_CALL = 64;
const BYTES_PER_MESSAGE = 4_096;

/** A message for the script. */
type Outgoing = RequestOf<typeof sendScript>['messages'][number] & {
  /** The key of its mark and what the script reads of it; `undefined` when no other node can send a message with its id. */
  readonly mark: { readonly key: string; readonly line: string } | undefined;
};

type Published = SendAnswer | { readonly status: 'KNOWN'; readonly result: SendResult };

type Dispatched =
  | Unsent
  | { readonly outcome: 'routed'; readonly inc: string }
  | { readonly outcome: 'unknown' }
  /** Not published: a former owner had the message. */
  | { readonly outcome: 'known'; readonly result: SendResult };

/** A message from another node. */
interface Arrived {
  readonly token: string;
  readonly message: MessageFrame;
  readonly late: boolean;
}

const NOT_HERE: LocalResult = { outcome: 'not-connected' };

/** A message with the partition of its connection. */
interface RoutedMessage {
  readonly message: Message;
  readonly partition: Partition;
}

/**
 * Dispatches messages to the node that owns their connection, and resolves to their outcome: the owner's answer, or the
 * outcome that is certain without an answer, or `unknown`. An attempt without an answer is repeated with the same message
 * id, after a new look-up, so it follows a takeover. The owner recognises a message id that it had.
 */
export class MessageRouter {
  readonly #pending = new Map<string, PendingSend>();
  readonly #acks = new Map<string, string[]>();
  #arrived: Arrived[] = [];
  readonly #batches = new Batches<Partition, Outgoing, SendAnswer>(
    MOST_PER_CALL,
    (partition, messages) => this.#publishAll(partition, messages),
    { sizeOf: ({ payload }) => 1 + payload.length / BYTES_PER_MESSAGE },
  );
  #sends = 0;

  constructor(
    private readonly node: ClusterNode,
    private readonly channel: NodeChannel,
    private readonly leases: Pick<NodeLeases, 'epochOf'>,
    private readonly commands: Pick<NodeCommands, 'outcomeAt'>,
  ) {}

  /** Sends that wait for an answer. */
  get pending(): number {
    return this.#pending.size;
  }

  async send(routed: RoutedMessage): Promise<SendResult> {
    this.#sends += 1;
    const name = this.#sends.toString(36);
    const { ack, deadline } = routed.message;
    if (ack === 'none') {
      const sent = await this.#dispatch(routed, `${name}.0`, false);
      if (sent.outcome === 'known') return sent.result;
      return sent.outcome === 'routed' ? { outcome: 'routed', nodeId: nodeIdOf(sent.inc) } : sent;
    }
    // A little earlier than its caller gives up, who would not learn which node did not answer.
    const pending = new PendingSend(deadline * 0.98);
    this.#pending.set(name, pending);
    try {
      return await this.#deliver(routed, name, pending);
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

  /**
   * A message for a connection of this node. One that is `late` is for an owner before this one: its sender is answered
   * that it is not here, and looks for the owner once more.
   */
  onMessage(token: string, message: MessageFrame, late = false): void {
    if (this.#arrived.length === 0) process.nextTick(() => this.deliverArrived());
    this.#arrived.push({ token, message, late });
  }

  /** Delivers the messages that arrived, which happens by itself before the event loop goes on. */
  deliverArrived(): void {
    if (this.#arrived.length === 0) return;
    const wanted: NodeMessage[] = [];
    const refusals = this.#arrived.map(({ token, message, late }) => {
      const refusal = late ? NOT_HERE : this.#refusalOf(message);
      const { connectionId, messageId, bytes, trace } = message;
      if (refusal === undefined) wanted.push({ connectionId, token, messageId, frame: { bytes }, trace });
      return refusal;
    });
    const arrived = this.#arrived;
    this.#arrived = [];
    const results = this.node.listener.onMessages(wanted).values();
    for (const [at, { message }] of arrived.entries()) {
      const result = refusals[at] ?? results.next().value;
      if (message.ack && result) this.#acknowledge(message.from, { attempt: message.attempt, result });
    }
  }

  /** The limit of this node holds for messages of other nodes as well. */
  #refusalOf({ bytes }: MessageFrame): LocalResult | undefined {
    const { maxEventBytes } = this.node.options.limits;
    return bytes.length > mostBytes(maxEventBytes) ? { outcome: 'rejected', code: 'EVENT_TOO_LARGE' } : undefined;
  }

  onAcks(from: string, acks: readonly Ack[]): void {
    for (const { attempt, result } of acks) {
      const [name = '', number] = attempt.split('.');
      this.#pending.get(name)?.onAnswer(Number(number), result, from);
    }
  }

  /** A node died: the sends that only it can answer end. */
  onDead(inc: string): void {
    for (const pending of this.#pending.values()) pending.onDead(inc);
  }

  /** Ends every wait. */
  close(): void {
    for (const pending of this.#pending.values()) pending.end();
  }

  async #deliver(routed: RoutedMessage, name: string, pending: PendingSend): Promise<SendResult> {
    const { gateway } = this.node;
    let silentLife: number | undefined;
    for (const [attempt, at] of ATTEMPTS.entries()) {
      const answer = attempt === 0 ? undefined : await pending.answerBy(at);
      if (answer !== undefined && answer !== 'again') return answer;
      if (pending.over) break;
      // The attempt before is still on its way; another one would wait behind it in a Redis that is frozen.
      if (!gateway.cluster && silentLife === gateway.life) continue;
      const { life } = gateway;
      if (attempt > 0) this.node.telemetry.retrying('send', answer === 'again' ? 'not-connected' : 'unanswered');
      const result = await this.#attempt(routed, `${name}.${attempt}`, pending, attempt);
      if (result === 'silent') silentLife = life;
      else if (result !== undefined) return result;
    }
    return pending.outcome();
  }

  /** The result, when it is certain without an answer; `silent` when Redis did not answer the script either. */
  async #attempt(
    routed: RoutedMessage,
    name: string,
    pending: PendingSend,
    attempt: number,
  ): Promise<SendResult | 'silent' | undefined> {
    pending.onSent(attempt);
    const sent = await this.#dispatch(routed, name, true);
    if (sent.outcome === 'unknown') return 'silent';
    if (sent.outcome === 'known') return sent.result;
    if (sent.outcome === 'routed') {
      pending.onRouted(attempt, sent.inc);
      return undefined;
    }
    pending.onUnsent(attempt, sent);
    // Where a node was not reached, a subscriber that reconnects may be the cause, so one more attempt is made.
    const isCertain = !pending.doubtful && (attempt > 0 || sent.outcome === 'not-connected');
    return isCertain ? sent : undefined;
  }

  /** Publishes to the owner. `unknown`: Redis did not answer, and may have published it all the same. */
  async #dispatch(routed: RoutedMessage, attempt: string, ack: boolean): Promise<Dispatched> {
    try {
      const first = await this.#publish(routed, attempt, ack);
      const reply = first.status === 'FORMER' ? await this.#publishAgain(routed, attempt, ack, first) : first;
      if (reply.status === 'KNOWN') return { outcome: 'known', result: reply.result };
      if (reply.status === 'NONE') return { outcome: 'not-connected' };
      if (reply.status === 'PARTIAL') return { outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' };
      const isGone = this.node.gateway.keys.countsReceivers && reply.receivers === 0;
      return isGone ? { outcome: 'unavailable', code: 'NODE_UNREACHABLE' } : { outcome: 'routed', inc: reply.inc };
    } catch (error) {
      if (!SseError.is(error, 'UNAVAILABLE')) throw error;
      return error.noEffect === undefined ? { outcome: 'unknown' } : { outcome: 'unavailable', code: error.noEffect };
    }
  }

  /** A message that another connection of the id may have got, as `former` says, is published if the node of that one did not deliver it. */
  async #publishAgain(routed: RoutedMessage, attempt: string, ack: boolean, former: SendAnswer): Promise<Published> {
    let reply = former;
    for (let asked = 0; reply.status === 'FORMER'; asked += 1) {
      const { inc } = reply;
      const outcome = asked < MOST_FORMER ? await this.commands.outcomeAt(inc, routed.message) : 'unknown';
      if (outcome !== 'none') return { status: 'KNOWN', result: { outcome, nodeId: nodeIdOf(inc) } };
      reply = await this.#publish(routed, attempt, ack, reply);
    }
    return reply;
  }

  #publish(
    { message, partition }: RoutedMessage,
    attempt: string,
    ack: boolean,
    former?: SendAnswer,
  ): Promise<SendAnswer> {
    const { gateway, inc } = this.node;
    const { connectionId, messageId, frame, trace, named = false } = message;
    const { bytes } = frame;
    const encoded = encodeMessage({ from: inc, attempt, ack, connectionId, messageId, trace, bytes });
    const asked = former === undefined ? '' : ` ${former.inc} ${former.tok}`;
    return this.#batches.call(partition, {
      conn: connectionId,
      mark: named
        ? { key: gateway.keys.mark(partition, connectionId, messageId), line: `${MARK_MS}${asked}` }
        : undefined,
      payload: this.channel.signed(partition, encoded),
    });
  }

  async #publishAll(partition: Partition, messages: readonly Outgoing[]) {
    const { gateway } = this.node;
    const marks = messages.flatMap(({ mark }) => mark?.key ?? []);
    const { outcomes, numbers } = await gateway.run(sendScript, {
      partition,
      marks,
      named: marks.length === 0 ? '' : messages.map(({ mark }) => mark?.line ?? '').join('\n'),
      epoch: this.leases.epochOf(partition),
      counts: gateway.keys.countsReceivers,
      pubCommand: publishCommand(gateway.keys.nodeMode),
      messages,
    });
    return numbers.map(number => outcomes[number]);
  }

  /** Acks to one sender of one tick leave together. */
  #acknowledge(to: string, ack: { attempt: string; result: LocalResult }): void {
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
        // The sender repeats the message.
        this.node.logger.debug('an acknowledgement was not sent', { error });
      });
    }
    this.#acks.clear();
  }
}
