import { randomBytes } from 'node:crypto';
import { closedFrame } from '../connection/end.js';
import type { Publication, PublicationResult } from '../contracts/cluster.js';
import type { CommandReceipt, Cursor, Frame } from '../contracts/events.js';
import type { ConnectionOptions } from '../contracts/service.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import { beginningOf, ENDED, formatCursor, parseCursor } from '../protocol/cursor.js';
import { encodeId, encodeReset, NOTHING } from '../protocol/event-stream.js';
import { endingOf, isSourceTopic, type SourceEnding, sourceKey, sourceTopic } from '../protocol/names.js';
import { Periodic, withTimeout } from '../time.js';
import type { SseNode } from './node.js';
import {
  type EndedRun,
  hasAll,
  RUN_LOCK_MS,
  type SourceEnd,
  SourceLocks,
  SourceOwners,
  SourceRun,
} from './source-run.js';

/** After the last entry of a source. Its end is known as long as the client has it, not only for `source.ttl`. */
const HAS_ALL: Frame = { bytes: encodeId(ENDED) };
/** Sources of which a watch finds out anew who runs them, although their node is known. */
const LOOKED_AT_AGAIN = 16;
const MOST_RECENT = 100;

/** A source that runs on this node. */
interface Run {
  readonly run: SourceRun;
  /** Resolves when its end was published, or cannot be. */
  readonly ended: Promise<void>;
}

type Source = NonNullable<ConnectionOptions['source']>;
/** Starts a source; called at most once per key in the cluster, by the node that runs it. */
type SourceFactory = Source['start'];

/**
 * Sources that run once in the cluster, however many clients follow them. Their events are entries of the log in a topic of
 * their own, so that any client follows them from the start, or from its last id, on any node. The last entry ends all of
 * their streams at the same position. The node that runs a source holds its lock; when the node proves no more that it lives,
 * any node with followers takes the lock over and ends the source as lost. At rest a node proves its life, and asks for the
 * proofs of the nodes that run what is followed here: the number of sources costs nothing.
 */
export class ResumableSources {
  readonly runs = new Map<string, Run>();
  /** The latest runs of this node that ended. */
  readonly recent: EndedRun[] = [];
  readonly #stopped = new Set<SourceRun>();
  /** The nodes that run what is followed here, by key; the oldest knowledge first. */
  readonly #runners = new Map<string, string>();
  readonly #owners: SourceOwners;
  /** The ends of sources that are followed here. */
  readonly endings = new Map<string, SourceEnd>();
  readonly #locks: SourceLocks;
  readonly #beginning = new Map<string, Promise<void>>();
  readonly #watch: Periodic;
  readonly #keeping: Periodic;
  /** Until then this node holds the locks of its runs, by the monotonic clock; it renews them before. */
  #provenUntil = 0;
  #renewAt = 0;

  constructor(private readonly node: SseNode) {
    this.#locks = new SourceLocks(node);
    this.#owners = new SourceOwners(this.#locks);
    const endLost = () => node.telemetry.maintenance.expiring('source', () => this.#endLost());
    this.#watch = new Periodic(endLost, { everyMs: node.options.source.lease / 2 });
    this.#keeping = new Periodic(() => this.#keep(), { everyMs: node.options.source.lease / 3 });
  }

  /**
   * To be called for each follower before it connects: runs the source here if no node has run it yet.
   * @param user of the follower. A source that is not shared belongs to the user of its first follower.
   * @param lastEventId what the client has; at the end of the source it need not come again
   * @throws SseError `FORBIDDEN`, `SOURCE_ENDED`, `UNAVAILABLE`
   */
  async begin(source: Source, user: string | undefined, lastEventId: string | undefined): Promise<void> {
    const { key, start } = source;
    this.#watch.start();
    await this.#owners.admit(source, user, this.#isHere(key));
    if (this.runs.has(key)) return;
    // What is known of a source is kept up to date only while it is followed here.
    if (!this.#isHere(key)) this.#forgetHere(key);
    else if (this.#runners.has(key)) return;
    const ended = await this.#locks.endOf(key);
    if (ended !== undefined) {
      if (hasAll(lastEventId, ended.id))
        throw new SseError('SOURCE_ENDED', `source '${key}' has ended and its client has all of it`);
      return;
    }
    // Callers at the same time would all get the lock of this node.
    const beginning = this.#beginning.get(key) ?? this.#begin(key, start);
    this.#beginning.set(key, beginning);
    await beginning.finally(() => this.#beginning.delete(key));
  }

  /** Whether a source runs here or is followed here. */
  #isHere(key: string): boolean {
    const [follower] = this.node.store.subscribers(sourceTopic(key));
    return follower !== undefined || this.runs.has(key);
  }

  async #begin(key: string, start: SourceFactory): Promise<void> {
    if (this.runs.has(key) || !(await this.#acquire(key))) return;
    // The node that ran it is gone. The source is not begun again.
    if ((await this.#firstId(key)) !== '') await this.#end(key, 'lost');
    else if (this.node.phase === 'started') this.#run(key, start);
    // A node that ends would give the source up before it is done. The client is refused, and begins it on another node.
    else await this.#locks.release(key);
  }

  /** Acquires the right to run a source, that of a dead node as well. */
  async #acquire(key: string): Promise<boolean> {
    await this.#prove();
    if (await this.#locks.acquire(key)) return true;
    const runner = await this.#locks.runnerOf(key);
    if (runner !== undefined) {
      if (await this.#locks.lives(runner)) return false;
      await this.#locks.release(key, runner);
    }
    return this.#locks.acquire(key);
  }

  /** An entry was given to the followers here; at the last one their streams end. */
  onEntry(topic: string, { bytes, position }: Frame): void {
    const ending = endingOf(bytes);
    if (ending === undefined) return;
    const key = sourceKey(topic);
    if (position !== undefined) this.endings.set(key, { id: formatCursor(position), ending });
    this.runs.get(key)?.run.abort();
    for (const connection of [...this.node.store.subscribers(topic)]) {
      if (connection.state.kind === 'open') this.#close(connection, ending);
    }
  }

  /** Ends the streams of followers here that were given the last entry while they opened, or whose end was not noted yet. */
  async closeEnded(key: string): Promise<void> {
    try {
      // Later in any case, since the caller still opens the stream.
      const ended = await (this.endings.get(key) ?? this.#locks.endOf(key));
      const end = ended === undefined ? undefined : parseCursor(ended.id);
      if (ended === undefined || end === undefined) return;
      for (const connection of [...this.node.store.subscribers(sourceTopic(key))]) {
        if (connection.state.kind !== 'open' || !connection.hasReached(end)) continue;
        this.#close(connection, ended.ending);
      }
    } catch (error) {
      this.node.logger.debug('the end of a source could not be looked up', { key, error });
    }
  }

  /** Ends a source as completed, if it runs here. Resolves to whether it did, once its end was published. */
  async end(key: string): Promise<boolean> {
    const found = this.runs.get(key);
    if (found === undefined) return false;
    this.#stopped.add(found.run);
    found.run.abort();
    await found.ended;
    return true;
  }

  /** Lets a source that does not run be run again, and forgets its events. Never rejects because of the cluster. */
  async forget(key: string): Promise<CommandReceipt> {
    try {
      const runner = await this.#locks.runnerOf(key);
      // It has begun since it was stopped.
      if (runner !== undefined && (await this.#locks.lives(runner))) return { outcome: 'unknown' };
      await this.node.cluster.log.forget(sourceTopic(key));
      await this.#locks.forget(key);
      if (runner !== undefined) await this.#locks.release(key, runner);
      this.#forgetHere(key);
      this.#owners.forget(key);
      return { outcome: 'delivered' };
    } catch (error) {
      if (!SseError.is(error, 'UNAVAILABLE')) throw error;
      return error.noEffect === undefined ? { outcome: 'unknown' } : { outcome: 'unavailable', code: error.noEffect };
    }
  }

  /** Resolves when none runs here any more, or after so many milliseconds. */
  async ended(timeout: number): Promise<void> {
    if (this.runs.size > 0) await withTimeout(this.#allEnded(), timeout, () => undefined);
  }

  /** Gives up what still runs here, so that its followers hear of it at once. Never rejects. */
  async stop(): Promise<void> {
    this.#watch.stop();
    for (const { run } of [...this.runs.values()]) run.abort();
    await this.#allEnded();
    this.#keeping.stop();
  }

  #forgetHere(key: string): void {
    this.endings.delete(key);
    this.#runners.delete(key);
  }

  async #allEnded(): Promise<void> {
    await Promise.all([...this.runs.values()].map(({ ended }) => ended));
  }

  /** Ends the stream of a client that has been given the last entry. */
  #close(connection: LocalConnection, ending: SourceEnding): void {
    if (ending === 'lost') this.node.telemetry.connections.reset('PRODUCER_LOST', connection.id);
    const completed = ending === 'completed';
    connection.close(completed ? 'completed' : 'failed', completed ? HAS_ALL : NOTHING);
  }

  #run(key: string, start: SourceFactory): void {
    let epoch: string | undefined;
    // Another run of the key may follow within the minute in which an idempotency key is known.
    const name = randomBytes(4).toString('base64url');
    const run = new SourceRun(
      ({ event, data, number }) =>
        this.node.telemetry.events.appending(event, async trace => {
          const body = this.node.encoder.encode(event, data).bytes;
          const publication = this.#publication(key, body, `${name} ${number.toString(36)}`, trace);
          const cursor = kept(await this.node.cluster.append(publication));
          epoch ??= cursor.epoch;
          // The log was lost, and with it the beginning.
          if (cursor.epoch !== epoch) run.abort();
        }),
      this.node.options.source,
      this.node.environment.turns,
      error => this.node.logger.debug('a source failed after it was cancelled', { key, error }),
    );
    // After this turn, so that the run is known before it can end.
    const ended = Promise.resolve()
      .then(() => this.#runToEnd(key, run, start))
      .finally(() => {
        this.runs.delete(key);
        this.#stopped.delete(run);
      });
    this.runs.set(key, { run, ended });
    run.prolong(this.#provenUntil);
    this.#keeping.start();
  }

  async #runToEnd(key: string, run: SourceRun, start: SourceFactory): Promise<void> {
    let ending: SourceEnding = 'completed';
    try {
      await run.run(() => start({ signal: run.signal }));
    } catch (error) {
      ending = 'failed';
      this.node.logger.error('a resumable source failed; its streams were ended', { key, error });
    }
    if (run.signal.aborted) ending = this.#stopped.has(run) ? 'completed' : 'lost';
    run.abort();
    this.recent.push({ key, ending, events: run.events, startedAt: run.startedAt });
    if (this.recent.length > MOST_RECENT) this.recent.shift();
    await run
      .persist(() => this.#end(key, ending))
      .catch((error: unknown) => {
        this.node.logger.warn('the end of a source could not be published; other nodes do it', { key, error });
      });
  }

  /** Proves that this node lives, which prolongs the locks of its runs. @throws SseError `UNAVAILABLE` */
  async #prove(): Promise<void> {
    const askedAt = performance.now();
    if (askedAt < this.#provenUntil - this.node.options.source.lease / 2) return;
    await this.#locks.proveLife();
    const isGap = askedAt >= this.#provenUntil;
    this.#provenUntil = askedAt + this.node.options.source.lease;
    if (!isGap && askedAt < this.#renewAt) {
      for (const { run } of this.runs.values()) run.prolong(this.#provenUntil);
      return;
    }
    this.#renewAt = askedAt + RUN_LOCK_MS / 4;
    // Another node may have taken them over.
    for (const [key, { run }] of [...this.runs]) {
      if (await this.#locks.acquire(key)) run.prolong(this.#provenUntil);
      else run.abort();
      await this.#owners.prolong(key);
    }
  }

  async #keep(): Promise<void> {
    if (this.runs.size === 0) this.#keeping.stop();
    else {
      await this.#prove().catch((error: unknown) => {
        this.node.logger.debug('the locks of the sources could not be prolonged; trying again', { error });
      });
    }
  }

  /** Ends the sources that are followed here and whose node is gone. Returns how many it ended. */
  async #endLost(): Promise<number> {
    const followed = new Set([...this.node.store.topics()].filter(isSourceTopic).map(sourceKey));
    for (const key of [...this.endings.keys()]) if (!followed.has(key)) this.endings.delete(key);
    this.#owners.retain(key => followed.has(key) || this.runs.has(key));
    let again = LOOKED_AT_AGAIN;
    for (const key of [...this.#runners.keys()]) if (!followed.has(key) || again-- > 0) this.#runners.delete(key);
    let lost = 0;
    const lives = new Map<string, boolean>();
    for (const key of followed) {
      if (this.runs.has(key)) continue;
      try {
        if (await this.#isLost(key, lives)) lost += 1;
      } catch (error) {
        this.node.logger.debug('the node of a source could not be looked up; trying again', { key, error });
      }
    }
    return lost;
  }

  /** Whether this node has ended a source now, whose node is gone. @param lives which nodes are known to live */
  async #isLost(key: string, lives: Map<string, boolean>): Promise<boolean> {
    if (this.endings.has(key)) {
      await this.closeEnded(key);
      return false;
    }
    let runner = this.#runners.get(key);
    if (runner === undefined) {
      if ((await this.#locks.endOf(key)) !== undefined) {
        await this.closeEnded(key);
        return false;
      }
      runner = await this.#locks.runnerOf(key);
    }
    if (runner !== undefined) {
      const alive = lives.get(runner) ?? (await this.#locks.lives(runner));
      lives.set(runner, alive);
      if (alive) {
        this.#runners.set(key, runner);
        return false;
      }
      this.#runners.delete(key);
    }
    return (await this.#acquire(key)) && this.#end(key, 'lost');
  }

  /** Publishes the last entry, if this node can have the lock. Returns whether it did. */
  async #end(key: string, ending: SourceEnding): Promise<boolean> {
    if (!(await this.#locks.acquire(key))) return false;
    const ended = await this.#locks.endOf(key);
    if (ended === undefined) await this.#publishEnd(key, ending);
    await this.#locks.release(key);
    return ended === undefined;
  }

  async #publishEnd(key: string, ending: SourceEnding): Promise<void> {
    const lost = ending === 'lost';
    const body = lost ? await this.#lostBody(key) : closedFrame(ending).bytes;
    const { id } = await this.node.telemetry.events.publishing(
      { scope: 'source', key },
      lost ? 'sse.reset' : 'sse.closed',
      async trace => {
        const publication = this.#publication(key, body, `end ${await this.#firstId(key)}`, trace);
        const end = kept(await this.node.cluster.log.publish(publication));
        return { outcome: 'stored' as const, topic: sourceTopic(key), id: formatCursor(end) };
      },
    );
    await this.#locks.recordEnd(key, { id, ending });
  }

  async #lostBody(key: string): Promise<Buffer> {
    const { head } = await this.#page(key);
    const topics = [sourceTopic(key)];
    const resumedFrom = formatCursor(head);
    return encodeReset({ reason: 'PRODUCER_LOST', topics, resumedFrom }, undefined);
  }

  #publication(key: string, body: Buffer, idempotencyKey: string, trace: string | undefined): Publication {
    const { maxEntries, ttl } = this.node.options.source;
    return {
      topic: sourceTopic(key),
      body,
      // All of it is kept, and its end, for as long after the last one.
      retention: { maxEntries: maxEntries + 1, ttl, whole: true },
      idempotencyKey,
      ...(trace === undefined ? {} : { trace }),
    };
  }

  /** Names a run for every node: the id of its first entry; '' for one without entries. */
  async #firstId(key: string): Promise<string> {
    const [first] = (await this.#page(key)).frames;
    return first?.position === undefined ? '' : formatCursor(first.position);
  }

  async #page(key: string) {
    const { log } = this.node.cluster;
    const { head } = await log.replay({ topics: [], limit: 1 });
    const topics = [sourceTopic(key)];
    return log.replay({ topics, after: beginningOf(head.epoch), limit: 1, broadcasts: false });
  }
}

function kept({ cursor }: PublicationResult): Cursor {
  if (cursor === undefined) throw new SseError('INTERNAL', 'a resumable source must be kept');
  return cursor;
}
