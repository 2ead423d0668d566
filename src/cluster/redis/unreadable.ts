import type { ClusterNode } from './cluster-node.js';
import { isUnreadable } from './failures.js';
import { unreadableScript } from './scripts.js';

/** Topics that are asked about. */
const MOST_TOPICS = 32;

/**
 * Keys of the log that another program wrote, as failed calls found them. They concern their topics alone. The node asks about
 * them again with each heartbeat, and forgets a key that was deleted or can be read again.
 */
export class UnreadableTopics {
  #topics: readonly string[] = [];
  #keys: readonly string[] = [];
  #suspected = false;
  #checking = false;

  constructor(private readonly node: Pick<ClusterNode, 'gateway' | 'logger'>) {}

  /** The keys that the last check found, of at most 32 topics. */
  get keys(): readonly string[] {
    return this.#keys;
  }

  /**
   * Notes the failure of a call about topics. Failures for another reason are left alone, and those of topics that are known
   * wait for the next heartbeat.
   */
  note(topics: readonly string[], error: unknown): void {
    if (!isUnreadable(error)) return;
    const known = new Set(this.#topics);
    if (this.#suspected && topics.every(topic => known.has(topic) || known.size === MOST_TOPICS)) return;
    this.#topics = [...new Set([...known, ...topics])].slice(0, MOST_TOPICS);
    this.#suspected = true;
    void this.check();
  }

  /** Asks Redis about the topics of the failures, if there are any. To be called with each heartbeat. Never rejects. */
  async check(): Promise<void> {
    if (!this.#suspected || this.#checking) return;
    this.#checking = true;
    const { gateway, logger } = this.node;
    const asked = this.#topics;
    try {
      const topics = asked.map(topic => gateway.keys.topic(topic));
      const reply = await gateway.run(unreadableScript, { meta: gateway.keys.logMeta, topics });
      const unreadable = new Set(reply.status === 'OK' ? reply.unreadable : []);
      const added = [...unreadable].filter(key => !this.#keys.includes(key));
      if (added.length > 0) logger.warn('keys of the log have another type; delete them', { keys: added });
      this.#keys = [...unreadable];
      this.#topics = this.#topics.filter((_, at) => {
        const keys = topics[at];
        // A topic that was noted meanwhile stands behind those that were asked about.
        return keys === undefined || unreadable.has(keys.stream) || unreadable.has(keys.last);
      });
      this.#suspected = unreadable.size > 0 || this.#topics.length > 0;
    } catch (error) {
      logger.debug('the keys of the log could not be checked; the next heartbeat tries again', { error });
    } finally {
      this.#checking = false;
    }
  }
}
