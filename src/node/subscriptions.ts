import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import { checkTopic, isMailbox, isSourceTopic } from '../protocol/names.js';
import type { SseNode } from './node.js';

/** The topics of this node's connections. Each of them is one `log.subscribe` of the node. */
export class Subscriptions {
  constructor(private readonly node: SseNode) {}

  /** The distinct topics of a new connection. @throws SseError `INVALID_TOPIC` */
  check(topics: readonly string[]): string[] {
    const distinct = [...new Set(topics)];
    for (const topic of distinct) checkTopic(topic);
    if (distinct.length > this.#limit) throw this.#tooMany(distinct.length);
    return distinct;
  }

  /** Subscribes a new connection that is stored, unless it stops meanwhile. @throws SseError `UNAVAILABLE` */
  async begin(connection: LocalConnection, topics: readonly string[]): Promise<void> {
    await this.node.cluster.log.subscribe(topics);
    for (const topic of topics) this.#subscribe(connection, topic);
  }

  /** Subscribes a live connection; resolves to whether it still is. @throws SseError `INVALID_TOPIC`, `UNAVAILABLE` */
  async add(connection: LocalConnection, topic: string): Promise<boolean> {
    if (connection.topics.has(topic)) return true;
    await this.node.cluster.log.subscribe([topic]);
    const own = [...connection.topics].filter(isInternal).length;
    const count = connection.topics.size - own + 1;
    // Looked at only now, since calls like this one may have been faster.
    if (count > this.#limit && !connection.topics.has(topic)) {
      this.node.cluster.log.unsubscribe([topic]);
      throw this.#tooMany(count);
    }
    this.#subscribe(connection, topic);
    return this.node.store.find(connection.id, connection.token) !== undefined;
  }

  remove(connection: LocalConnection, topic: string): void {
    if (this.node.store.unsubscribe(connection, topic)) this.node.cluster.log.unsubscribe([topic]);
  }

  /** Follows a `log.subscribe`, which is taken back when the connection has stopped or is subscribed already. */
  #subscribe(connection: LocalConnection, topic: string): void {
    if (!this.node.store.subscribe(connection, topic)) this.node.cluster.log.unsubscribe([topic]);
  }

  get #limit(): number {
    return this.node.options.limits.maxTopicsPerConnection;
  }

  #tooMany(count: number): SseError {
    return new SseError(
      'INVALID_TOPIC',
      `a connection follows at most ${this.#limit} topics (limits.maxTopicsPerConnection), got ${count}`,
    );
  }
}

/** Whether a topic is one that no application named. */
function isInternal(topic: string): boolean {
  return isMailbox(topic) || isSourceTopic(topic);
}
