import { randomBytes } from 'node:crypto';
import type { SourceSettings } from '../options/sse-options.js';
import type { SourceEnding } from '../protocol/names.js';
import type { SseNode } from './node.js';

/** Milliseconds that the lock of a run lives, so that one that nobody gives up ends at last. */
export const RUN_LOCK_MS = 3_600_000;

/** How and where a source ended. */
export interface SourceEnd {
  /** The id of its last entry. */
  readonly id: string;
  readonly ending: SourceEnding;
}

/**
 * Which node runs which resumable source, and which have ended, as locks of the cluster. A run has a lock that names its node
 * and lives long. The node proves that it lives by one lock of its own, however many sources it runs. The lock of a run whose
 * node has no proof is void: another node may take it over.
 */
export class SourceLocks {
  /** Names this node's runs; another process of the same node id has another name. */
  readonly #holder: string;
  readonly #settings: SourceSettings;

  constructor(private readonly node: SseNode) {
    this.#holder = `${node.options.node.id}~${randomBytes(8).toString('hex')}`;
    this.#settings = node.options.source;
  }

  /** Proves that this node lives, for `source.lease` from now on. @throws SseError `UNAVAILABLE` */
  async proveLife(): Promise<void> {
    await this.#locks.acquireLock(`node ${this.#holder}`, this.#holder, this.#settings.lease);
  }

  /** Acquires or prolongs the right to run a source, for a node with a proof of life. @throws SseError `UNAVAILABLE` */
  acquire(key: string): Promise<boolean> {
    return this.#locks.acquireLock(`run ${key}`, this.#holder, RUN_LOCK_MS);
  }

  /** Gives up the right to run a source. @throws SseError `UNAVAILABLE` */
  release(key: string, holder = this.#holder): Promise<void> {
    return this.#locks.releaseLock(`run ${key}`, holder);
  }

  /** The node that has the right to run a source, dead or alive. @throws SseError `UNAVAILABLE` */
  runnerOf(key: string): Promise<string | undefined> {
    return this.#locks.lockHolder(`run ${key}`);
  }

  /** Whether a node has a proof of life. @throws SseError `UNAVAILABLE` */
  async lives(holder: string): Promise<boolean> {
    return (await this.#locks.lockHolder(`node ${holder}`)) !== undefined;
  }

  /** Records the end of a source, as the holder of a lock that is not prolonged. @throws SseError `UNAVAILABLE` */
  async recordEnd(key: string, { id, ending }: SourceEnd): Promise<void> {
    await this.#locks.acquireLock(`end ${key}`, `${id} ${ending}`, this.#settings.ttl);
  }

  /** Its end, once it has ended. @throws SseError `UNAVAILABLE` */
  async endOf(key: string): Promise<SourceEnd | undefined> {
    const recorded = await this.#locks.lockHolder(`end ${key}`);
    if (recorded === undefined) return undefined;
    const [id = '', ending] = recorded.split(' ');
    // Only `recordEnd` writes it.
    return { id, ending: ending as SourceEnding };
  }

  /** Nothing says any more that the source has ended. @throws SseError `UNAVAILABLE` */
  async forgetEnd(key: string): Promise<void> {
    const recorded = await this.#locks.lockHolder(`end ${key}`);
    if (recorded !== undefined) await this.#locks.releaseLock(`end ${key}`, recorded);
  }

  get #locks() {
    return this.node.cluster.locks;
  }
}
