import type { ClusterNode } from './cluster-node.js';
import { isUnreadable } from './failures.js';
import { hashSlot } from './keys.js';
import type { RequestOf } from './script.js';
import { unreadableScript } from './scripts.js';

type Type = RequestOf<typeof unreadableScript>['type'][number];
/** A key and the type that this library gives it. */
type Suspect = readonly [key: string, type: Type];

/** Keys that are asked about, as many as one call of `unreadable.lua` answers. */
const MOST_KEYS = 100;

/**
 * Keys that another program wrote, as failed calls found them: those of topics, counters of users and addresses, and what is
 * remembered of clients. They concern their topic, user or client alone. The node asks about them again with each heartbeat, and
 * forgets a key that was deleted or can be read again. Keys of a whole partition are found by its lease.
 */
export class UnreadableKeys {
  readonly #suspects = new Map<string, Type>();
  readonly #found = new Set<string>();
  #checking = false;

  constructor(private readonly node: Pick<ClusterNode, 'gateway' | 'logger'>) {}

  /** The keys that the last check found, at most 100. */
  get keys(): readonly string[] {
    return [...this.#found];
  }

  /**
   * Notes the failure of a call about topics. Failures for another reason are left alone. One that a known key explains waits
   * for the next heartbeat.
   */
  noteTopics(topics: readonly string[], error: unknown): void {
    if (!isUnreadable(error)) return;
    const { keys } = this.node.gateway;
    const suspects = topics.flatMap((name): Suspect[] => {
      const { stream, last } = keys.topic(name);
      return [
        [stream, 'stream'],
        [last, 'string'],
      ];
    });
    this.#note([[keys.logMeta, 'hash'], ...suspects]);
  }

  /** Resolves or rejects as a call about hashes does, and notes its failure in the same way. */
  async watchHashes<T>(hashes: readonly string[], call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      if (isUnreadable(error)) this.#note(hashes.map(key => [key, 'hash']));
      throw error;
    }
  }

  /** Asks Redis about the keys of the failures, if there are any. To be called with each heartbeat. Never rejects. */
  async check(): Promise<void> {
    if (this.#suspects.size === 0 || this.#checking) return;
    this.#checking = true;
    const slots = new Map<number, Suspect[]>();
    for (const suspect of this.#suspects) {
      const slot = hashSlot(suspect[0]);
      slots.set(slot, [...(slots.get(slot) ?? []), suspect]);
    }
    const added = await Promise.all([...slots.values()].map(suspects => this.#checkSlot(suspects)));
    this.#checking = false;
    const keys = added.flat();
    if (keys.length > 0) this.node.logger.warn('keys have another type; delete them', { keys });
  }

  #note(suspects: readonly Suspect[]): void {
    const unknown = suspects.filter(([key]) => !this.#suspects.has(key)).slice(0, MOST_KEYS - this.#suspects.size);
    for (const [key, type] of unknown) this.#suspects.set(key, type);
    if (unknown.length > 0 && !suspects.some(([key]) => this.#found.has(key))) void this.check();
  }

  /** Asks about keys of one slot; resolves with those that were not found before. */
  async #checkSlot(suspects: readonly Suspect[]): Promise<readonly string[]> {
    const { gateway, logger } = this.node;
    try {
      const request = { key: suspects.map(([key]) => key), type: suspects.map(([, type]) => type) };
      const reply = await gateway.run(unreadableScript, request);
      const unreadable = new Set(reply.status === 'OK' ? reply.unreadable : []);
      const added = [...unreadable].filter(key => !this.#found.has(key));
      for (const key of request.key) {
        if (unreadable.has(key)) {
          this.#found.add(key);
          continue;
        }
        this.#found.delete(key);
        this.#suspects.delete(key);
      }
      return added;
    } catch (error) {
      logger.debug('keys could not be checked; the next heartbeat tries again', { error });
      return [];
    }
  }
}
