import type { Publication } from '../contracts/cluster.js';
import type { Cursor, Frame, Position, SendResult } from '../contracts/events.js';
import type { ClusterSendOptions } from '../contracts/service.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import { mailboxTopic } from '../protocol/names.js';
import type { Lifecycle } from './lifecycle.js';
import type { SseNode } from './node.js';
import { unanswered, withinDeadline } from './within-deadline.js';

// The entry has usually arrived before the question whether it has.
const LOOK_MS = 10;
const LONGEST_WAIT_MS = 1_000;
const NOTHING: Frame = { bytes: Buffer.alloc(0) };

/** A direct send that is to be kept. */
interface Mail {
  readonly connectionId: string;
  readonly messageId: string;
  /** Event-stream text without an id. */
  readonly frame: Frame;
  readonly ack: 'owner' | 'none';
  /** Milliseconds. */
  readonly deadline: number;
  readonly trace: string | undefined;
}

/**
 * Direct sends that are kept until their client has them: entries of the log in a topic that only the addressed connection
 * follows.
 */
export class Mailboxes {
  constructor(
    private readonly node: SseNode,
    private readonly lifecycle: Lifecycle,
  ) {}

  /** The topics that a connection follows beside those it asked for. */
  topicsOf(connectionId: string): string[] {
    return this.node.options.mailbox.enabled ? [mailboxTopic(connectionId)] : [];
  }

  /** @throws SseError `INVALID_OPTION` when mailboxes are off, `INVALID_EVENT_ID` for an id, which the log gives */
  check({ id }: ClusterSendOptions): void {
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

  /** Keeps the event, and says whether its client has it already. */
  async send(mail: Mail): Promise<SendResult> {
    const startedAt = performance.now();
    const { coordinator, policy } = this.node;
    let kept: Cursor | undefined;
    const result = await withinDeadline(
      policy,
      'publish',
      mail.deadline,
      async (handover, gaveUp) => {
        await this.lifecycle.start();
        if (gaveUp.aborted) return unanswered(handover);
        const { reachable, detail = 'no answer' } = coordinator.status();
        if (!reachable) throw new SseError('UNAVAILABLE', `${detail}; send again later`);
        handover.over = true;
        const { cursor } = await coordinator.log.publish(this.#publication(mail));
        kept = cursor;
        return { outcome: 'stored' };
      },
    );
    if (result.outcome === 'unavailable') return this.#deliverHere(mail) ?? result;
    if (kept === undefined || mail.ack === 'none') return result;
    const left = mail.deadline - (performance.now() - startedAt);
    return (await this.#confirm(mail.connectionId, kept, left)) ?? result;
  }

  /** How a connection of this node took its mail up to a place; `undefined` when it has not yet, or is not here. */
  async delivered(
    connectionId: string,
    position: Position,
  ): Promise<'delivered' | 'buffered' | undefined> {
    const until = performance.now() + LONGEST_WAIT_MS;
    for (;;) {
      const connection = this.node.store.get(connectionId);
      if (connection === undefined) return undefined;
      if (connection.hasReached(position)) return took(connection);
      if (performance.now() >= until) return undefined;
      await new Promise(resolve => setTimeout(resolve, LOOK_MS));
    }
  }

  /** That it was kept stays true, whatever becomes of the question. */
  async #confirm(
    connectionId: string,
    kept: Cursor,
    wait: number,
  ): Promise<SendResult | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>(resolve => {
      timer = setTimeout(() => resolve(undefined), Math.max(0, wait));
    });
    try {
      return await Promise.race([
        this.node.coordinator.messenger.hasReached(connectionId, kept),
        late,
      ]);
    } catch (error) {
      if (!SseError.is(error, 'UNAVAILABLE')) throw error;
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  /** It certainly is not in the log, so its client can be given it at most here, and only now. */
  #deliverHere({ connectionId, messageId, frame }: Mail): SendResult | undefined {
    const result = this.node.store.get(connectionId)?.deliverOnce(messageId, frame);
    if (result?.outcome !== 'delivered' && result?.outcome !== 'buffered') return undefined;
    return { outcome: result.outcome, nodeId: this.node.options.node.id };
  }

  #publication({ connectionId, messageId, frame, trace }: Mail): Publication {
    const { maxEntries, ttl } = this.node.options.mailbox;
    return {
      topic: mailboxTopic(connectionId),
      body: frame.bytes,
      retention: { maxEntries, ttl },
      // A publication without an answer is repeated, and a send may be as well.
      idempotencyKey: `${mailboxTopic(connectionId)} ${messageId}`,
      ...(trace === undefined ? {} : { trace }),
    };
  }
}

/** Whether its socket took all of it; what this tick has gathered is written for that. */
function took(connection: LocalConnection): 'delivered' | 'buffered' | undefined {
  const { outcome } = connection.deliver(NOTHING);
  if (outcome === 'not-connected') return undefined;
  return outcome === 'delivered' ? outcome : 'buffered';
}
