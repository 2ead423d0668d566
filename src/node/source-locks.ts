import { randomBytes } from 'node:crypto';
import { SseError } from '../errors.js';
import type { SourceSettings } from '../options/sse-options.js';
import { isAfter, parseCursor } from '../protocol/cursor.js';
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

/** Whether a client that has everything up to an id has all of a source that ended there. */
export function hasAll(lastEventId: string | undefined, ended: string): boolean {
  const has = lastEventId === undefined ? undefined : parseCursor(lastEventId);
  const end = parseCursor(ended);
  return has !== undefined && end !== undefined && has.epoch === end.epoch && !isAfter(end, has);
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

  /** Makes these connections the only ones that may follow a source, unless others are. Resolves to whether they are. @throws SseError `UNAVAILABLE` */
  own(key: string, owner: string): Promise<boolean> {
    return this.#locks.acquireLock(`owner ${key}`, owner, RUN_LOCK_MS + this.#settings.ttl);
  }

  /** Who may follow a source; `undefined` before its first follower. @throws SseError `UNAVAILABLE` */
  ownerOf(key: string): Promise<string | undefined> {
    return this.#locks.lockHolder(`owner ${key}`);
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

  /** Nothing says any more that the source has ended, or whose it is. @throws SseError `UNAVAILABLE` */
  async forget(key: string): Promise<void> {
    for (const name of [`end ${key}`, `owner ${key}`]) {
      const recorded = await this.#locks.lockHolder(name);
      if (recorded !== undefined) await this.#locks.releaseLock(name, recorded);
    }
  }

  get #locks() {
    return this.node.cluster.locks;
  }
}

/** The owner of a source that is not for one user. */
const EVERYONE = '*';

/**
 * To whom sources belong. The first follower makes its user the owner, which no other node can change as long as the source runs
 * or its events are kept.
 */
export class SourceOwners {
  /** Of the sources that run or are followed here. */
  readonly #known = new Map<string, string>();

  constructor(private readonly locks: SourceLocks) {}

  /**
   * Lets the owner of a source follow it.
   * @param isHere whether the source runs or is followed here, so that what is known of it is right
   * @throws SseError `FORBIDDEN` for the source of another user, `UNAVAILABLE`
   */
  async admit(
    { key, shared }: { readonly key: string; readonly shared?: boolean },
    user: string | undefined,
    isHere: boolean,
  ): Promise<void> {
    const owner = user === undefined || shared === true ? EVERYONE : `user ${user}`;
    if (isHere && this.#known.get(key) === owner) return;
    if (!(await this.locks.own(key, owner))) {
      throw new SseError('FORBIDDEN', 'this source belongs to another user; use a key of your own, or make it shared');
    }
    this.#known.set(key, owner);
  }

  /** Keeps the owner of a source that runs here. @throws SseError `UNAVAILABLE` */
  async prolong(key: string): Promise<void> {
    const owner = this.#known.get(key) ?? (await this.locks.ownerOf(key));
    if (owner !== undefined) await this.locks.own(key, owner);
  }

  /** Forgets, on this node, the owners of all other sources. */
  retain(isKept: (key: string) => boolean): void {
    for (const key of this.#known.keys()) if (!isKept(key)) this.#known.delete(key);
  }

  /** Forgets, on this node, the owner of a source. */
  forget(key: string): void {
    this.#known.delete(key);
  }
}
