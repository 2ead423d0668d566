import type { Publication } from '../contracts/cluster.js';
import type { BroadcastReceipt, EventOptions, FanOut, PublishReceipt } from '../contracts/events.js';
import type { PublishOptions } from '../contracts/service.js';
import { SseError } from '../errors.js';
import { retentionFor } from '../options/topic-history.js';
import { formatCursor } from '../protocol/cursor.js';
import { checkKey, checkTopic } from '../protocol/names.js';
import type { SseNode } from './node.js';

/** Sends to many: everyone here, everyone everywhere, or the subscribers of a topic. */
export class Publisher {
  constructor(private readonly node: SseNode) {}

  broadcast(event: string, data: unknown, options: EventOptions): FanOut {
    return this.node.telemetry.events.broadcasting(event, () =>
      this.node.store.deliverToAll(this.node.encoder.encode(event, data, options)),
    );
  }

  async broadcastToCluster(event: string, data: unknown, options: PublishOptions): Promise<BroadcastReceipt> {
    return this.node.telemetry.events.publishing({ scope: 'cluster' }, event, async trace => {
      const publication = this.#publication(undefined, event, data, options);
      const local = this.node.store.size;
      try {
        const { cursor, nodes } = await this.node.cluster.log.publish(carrying(publication, trace));
        return cursor === undefined ? { local, nodes } : { local, nodes, id: formatCursor(cursor) };
      } catch (error) {
        if (!SseError.is(error, 'UNAVAILABLE')) throw error;
        this.#deliverHere(publication.body);
        return { local, nodes: 0, degraded: true };
      }
    });
  }

  async publish(topic: string, event: string, data: unknown, options: PublishOptions): Promise<PublishReceipt> {
    checkTopic(topic);
    return this.node.telemetry.events.publishing({ scope: 'topic', topic }, event, async trace => {
      const publication = this.#publication(topic, event, data, options);
      const { cursor } = await this.node.cluster.log.publish(carrying(publication, trace));
      return cursor === undefined ? { topic } : { topic, id: formatCursor(cursor) };
    });
  }

  #deliverHere(bytes: Buffer): void {
    const { store, telemetry } = this.node;
    telemetry.events.fanningOut(
      { to: { scope: 'cluster' }, size: bytes.length, position: undefined, trace: undefined },
      () => store.deliverToAll({ bytes }),
    );
  }

  #publication(
    topic: string | undefined,
    event: string,
    data: unknown,
    { retry, history, idempotencyKey }: PublishOptions,
  ): Publication {
    const fields = retry === undefined ? {} : { retry };
    const body = this.node.encoder.encode(event, data, fields).bytes;
    const retention = history === false ? false : retentionFor(this.node.options.history, topic);
    if (idempotencyKey === undefined) return { topic, body, retention };
    checkKey('an idempotency key', idempotencyKey);
    return { topic, body, retention, idempotencyKey };
  }
}

function carrying(publication: Publication, trace: string | undefined): Publication {
  return trace === undefined ? publication : { ...publication, trace };
}
