import type { RememberedTopic, SubscriptionChange } from '../../contracts/cluster.js';
import type { Cursor } from '../../contracts/events.js';

interface Remembered {
  /** By the monotonic clock. */
  readonly until: number;
  readonly topics: Map<string, State>;
}

type State =
  | { readonly kind: 'dropped' }
  /** `alone`: nothing remains to be remembered once it is dropped. */
  | { readonly kind: 'followed'; readonly since: Cursor; readonly alone: boolean };

/** What clients follow that come back. */
export class RememberedSubscriptions {
  /** By connection id, in the order in which they were remembered. */
  readonly #ids = new Map<string, Remembered>();

  /** @param head the newest entry of the log */
  remember({ connectionId, topic, change, limit, ttl }: SubscriptionChange, head: Cursor): boolean {
    const topics = this.#topicsOf(connectionId) ?? new Map<string, State>();
    const present = topics.get(topic);
    if (present === undefined && topics.size >= limit) return false;
    if (change !== 'drop') {
      const alone = change === 'add' && present === undefined;
      if (present?.kind !== 'followed') topics.set(topic, { kind: 'followed', since: head, alone });
    } else if (present?.kind === 'followed' && present.alone) topics.delete(topic);
    else topics.set(topic, { kind: 'dropped' });
    this.#keep(connectionId, topics, ttl);
    return true;
  }

  recall(connectionId: string, ttl: number): ReadonlyMap<string, RememberedTopic> {
    const topics = this.#topicsOf(connectionId);
    if (topics === undefined) return new Map();
    this.#keep(connectionId, topics, ttl);
    return new Map(
      [...topics].map(([topic, state]): [string, RememberedTopic] => [
        topic,
        state.kind === 'dropped' ? state : { kind: 'followed', since: state.since },
      ]),
    );
  }

  forget(connectionId: string): void {
    this.#ids.delete(connectionId);
  }

  #topicsOf(connectionId: string): Map<string, State> | undefined {
    const now = performance.now();
    // Those with a longer life may keep others a little longer.
    for (const [id, { until }] of this.#ids) {
      if (until > now) break;
      this.#ids.delete(id);
    }
    const remembered = this.#ids.get(connectionId);
    return remembered !== undefined && remembered.until > now ? remembered.topics : undefined;
  }

  #keep(connectionId: string, topics: Map<string, State>, ttl: number): void {
    this.#ids.delete(connectionId);
    this.#ids.set(connectionId, { until: performance.now() + ttl, topics });
  }
}
