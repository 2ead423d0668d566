import type { LocalConnection } from '../contracts/connection-store.js';
import { SseError } from '../errors/sse-error.js';
import { checkTopic } from '../protocol/text-rules.js';
import type { SseNode } from './sse-node.js';

/** Which connection of this node follows which topics, in step with the node's feed. */
export class Subscriptions {
  constructor(private readonly node: SseNode) {}

  /** The distinct topics of a new connection. @throws SseError `INVALID_TOPIC` */
  check(topics: readonly string[]): string[] {
    const distinct = [...new Set(topics)];
    this.#checkCount(distinct.length);
    for (const topic of distinct) checkTopic(topic);
    return distinct;
  }

  /** Subscribes a live connection; resolves to whether it still is. @throws SseError `INVALID_TOPIC`, `UNAVAILABLE` */
  async add(connection: LocalConnection, topic: string): Promise<boolean> {
    if (connection.topics.has(topic)) return true;
    this.#checkCount(connection.topics.size + 1);
    const { coordinator, policy, store } = this.node;
    await policy.execute('maintenance', () => coordinator.listen([topic]));
    if (store.subscribe(connection, topic)) return true;
    // It stopped meanwhile, or a call like this one was faster.
    coordinator.unlisten([topic]);
    return store.find(connection.id, connection.token) !== undefined;
  }

  remove(connection: LocalConnection, topic: string): void {
    if (this.node.store.unsubscribe(connection, topic)) this.node.coordinator.unlisten([topic]);
  }

  #checkCount(count: number): void {
    const { maxTopicsPerConnection } = this.node.options.limits;
    if (count > maxTopicsPerConnection) {
      throw new SseError(
        'INVALID_TOPIC',
        `a connection follows at most ${maxTopicsPerConnection} topics (limits.maxTopicsPerConnection), got ${count}`,
      );
    }
  }
}
