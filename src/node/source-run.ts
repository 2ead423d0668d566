import { randomBytes } from 'node:crypto';
import type { TurnBudget } from '../connection/scheduler.js';
import { pump, type PumpTarget, SourceItemReader, sourceOf } from '../connection/source.js';
import { SseError } from '../errors.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { isAfter, parseCursor } from '../protocol/cursor.js';
import type { SourceEnding } from '../protocol/names.js';
import { pause, retry } from '../time.js';
import type { SseNode } from './node.js';

/** Appends that are under way at once: enough that a Redis far away does not slow a source down. */
const WINDOW = 32;
/** Milliseconds between two tries of appends that failed. */
const PAUSE_MS = 100;

/** An event of a run. */
interface SourceEntry {
  readonly event: string;
  readonly data: unknown;
  /** Counts the events of the run, from 1. */
  readonly number: number;
}

/** A run that has ended. */
export interface EndedRun extends Pick<SourceRun, 'events' | 'startedAt'> {
  readonly key: string;
  readonly ending: SourceEnding;
}

/**
 * One run of a resumable source: pulls its items, and appends them in their order, several at once. Appends that fail because
 * the cluster cannot be reached are repeated until the lock of the run is over; each has a key, so no event is kept twice.
 */
export class SourceRun implements PumpTarget {
  readonly #abort = new AbortController();
  readonly #reader = new SourceItemReader();
  /** Accepted, and not under way. */
  #waiting: SourceEntry[] = [];
  #failed: { readonly entry: SourceEntry; readonly error: SseError }[] = [];
  #underWay = 0;
  /** Appends that may be under way. After a failure one append goes ahead alone, so that none overtakes it. */
  #window = WINDOW;
  #number = 0;
  #newestKept = 0;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void)[] = [];
  #heldUntil: number;
  /** By the monotonic clock. */
  readonly startedAt = performance.now();

  /**
   * @param append appends an event, once; resolves when it is kept. Calls are carried out in their order. @throws SseError
   * @param logFailure of a source that was cancelled
   */
  constructor(
    private readonly append: (entry: SourceEntry) => Promise<void>,
    private readonly settings: Pick<ResolvedSseOptions['source'], 'maxEntries' | 'lease'>,
    readonly turns: TurnBudget,
    private readonly logFailure: (error: unknown) => void,
  ) {
    this.#heldUntil = performance.now() + settings.lease;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** How many there were so far. */
  get events(): number {
    return this.#number;
  }

  /** Gives it up. */
  abort(): void {
    this.#abort.abort();
    this.#changed();
  }

  /** Its lock is held until then, by the monotonic clock. */
  prolong(until: number): void {
    this.#heldUntil = until;
  }

  /** Runs the source to its end. Rejects with its failure, or when its events cannot be kept. */
  async run(start: () => unknown): Promise<void> {
    const begun = await this.#begin(start);
    if (begun !== undefined) await pump(sourceOf(begun.source), this);
    await this.#until(() => this.#underWay === 0 && (this.signal.aborted || this.#left === 0));
  }

  /** Repeats a step of the run, which needs the cluster, until its lock is over. */
  persist<T>(step: () => Promise<T>): Promise<T> {
    const passing = (error: unknown): boolean =>
      SseError.is(error, 'UNAVAILABLE') && performance.now() < this.#heldUntil;
    return retry(step, { tries: Infinity, pauseMs: PAUSE_MS, passing });
  }

  drained(): Promise<void> {
    return this.#until(() => this.#left < WINDOW || this.signal.aborted);
  }

  accept(item: unknown): void {
    const read = this.#reader.read(item);
    if (read === undefined) return;
    this.#number += 1;
    const { maxEntries } = this.settings;
    if (this.#number > maxEntries) {
      throw new SseError(
        'INVALID_SOURCE',
        `a resumable source has at most ${maxEntries} events (source.maxEntries); split it`,
      );
    }
    const { event = 'message', data } = read;
    this.#waiting.push({ event, data, number: this.#number });
    this.#send();
  }

  onLateFailure(error: unknown): void {
    this.logFailure(error);
  }

  /** Events that are not kept yet. */
  get #left(): number {
    return this.#waiting.length + this.#underWay + this.#failed.length;
  }

  #send(): void {
    // After a failure everything under way ends first: what follows must not overtake what failed.
    while (this.#underWay < this.#window && this.#failed.length === 0 && !this.signal.aborted) {
      const entry = this.#waiting.shift();
      if (entry === undefined) return;
      this.#underWay += 1;
      this.append(entry).then(
        () => this.#onEnd(entry),
        (error: unknown) => this.#onEnd(entry, { error }),
      );
    }
  }

  #onEnd(entry: SourceEntry, failure?: { readonly error: unknown }): void {
    this.#underWay -= 1;
    if (failure !== undefined) this.#window = 1;
    else if (this.#failed.length === 0) this.#window = WINDOW;
    if (failure === undefined) this.#newestKept = Math.max(this.#newestKept, entry.number);
    else if (SseError.is(failure.error, 'UNAVAILABLE')) this.#failed.push({ entry, error: failure.error });
    else this.#fail(failure.error);
    if (this.#failed.length === 0) this.#send();
    else if (this.#underWay === 0) void this.#repeat();
    this.#changed();
  }

  /** Sends what failed again, before everything that waits. */
  async #repeat(): Promise<void> {
    const failed = [...this.#failed].sort((a, b) => a.entry.number - b.entry.number);
    const overtaken = failed.find(
      ({ entry, error }) => error.noEffect !== undefined && entry.number < this.#newestKept,
    );
    await pause(PAUSE_MS);
    const [first] = failed;
    if (overtaken !== undefined || performance.now() >= this.#heldUntil) {
      this.abort();
      this.#fail((overtaken ?? first)?.error);
    }
    this.#waiting = [...failed.map(({ entry }) => entry), ...this.#waiting];
    this.#failed = [];
    this.#send();
    this.#changed();
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.abort();
  }

  async #until(done: () => boolean): Promise<void> {
    while (this.#failure === undefined && !done()) {
      await new Promise<void>(resolve => this.#wake.push(resolve));
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #changed(): void {
    const waiters = this.#wake;
    this.#wake = [];
    for (const wake of waiters) wake();
  }

  /** `undefined` when it was given up before it had begun: it may never begin, so there is no wait for that. */
  async #begin(start: () => unknown): Promise<{ readonly source: unknown } | undefined> {
    const starting = Promise.resolve(start()).then((source: unknown) => ({ source }));
    const aborted = new Promise<undefined>(resolve => {
      this.signal.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    const begun = await Promise.race([starting, aborted]);
    if (begun === undefined) starting.catch((error: unknown) => this.onLateFailure(error));
    return begun;
  }
}

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
  readonly #settings: ResolvedSseOptions['source'];

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
