import { randomBytes } from 'node:crypto';
import { closedFrame } from '../connection/environment.js';
import type { Publication, PublicationResult } from '../contracts/cluster.js';
import type { Cursor, Frame } from '../contracts/events.js';
import type { ResumableSource } from '../contracts/service.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import type { SourceSettings } from '../options/sse-options.js';
import { beginningOf, formatCursor, isAfter, parseCursor } from '../protocol/cursor.js';
import { encodeReset } from '../protocol/gap.js';
import { endingOf, isSourceTopic, type SourceEnding, sourceKey, sourceTopic } from '../protocol/names.js';
import { Periodic, withTimeout } from '../time.js';
import type { SseNode } from './node.js';
import { SourceRun } from './source-run.js';

const NOTHING: Frame = { bytes: Buffer.alloc(0) };

/** Starts a source; called at most once per key in the cluster, by the node that runs it. */
type SourceFactory = (source: ResumableSource) => unknown;

/**
 * Sources that run once in the cluster, however many clients follow them. Their events are entries of the log in a topic of
 * their own, so that any client follows them from the start, or from its last id, on any node. The last entry ends all of
 * their streams at the same position. The node that runs a source holds its lock; when the lock runs out, any node with
 * followers acquires it and ends the source as lost.
 */
export class ResumableSources {
  readonly #runs = new Map<string, SourceRun>();
  readonly #locks: SourceLocks;
  readonly #ends = new Set<Promise<void>>();
  readonly #beginning = new Map<string, Promise<void>>();
  readonly #watch: Periodic;
  #stopped = false;

  constructor(private readonly node: SseNode) {
    this.#locks = new SourceLocks(node);
    this.#watch = new Periodic(
      async () => {
        await node.telemetry.maintenance.expiring('source', () => this.#endLost());
      },
      { everyMs: node.options.source.lease / 2 },
    );
  }

  /**
   * To be called for each follower before it connects: runs the source here if no node has run it yet.
   * @param lastEventId what the client has; at the end of the source it need not come again
   * @throws SseError `SOURCE_ENDED`, `UNAVAILABLE`
   */
  async begin(key: string, lastEventId: string | undefined, start: SourceFactory): Promise<void> {
    this.#watch.start();
    if (this.#runs.has(key)) return;
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

  async #begin(key: string, start: SourceFactory): Promise<void> {
    if (this.#stopped || this.#runs.has(key) || !(await this.#locks.acquire(key))) return;
    // The node that ran it is gone. The source is not begun again.
    if (await this.#hasBegun(key)) await this.#end(key, 'lost');
    else this.#run(key, start);
  }

  /** An entry was given to the followers here; at the last one their streams end. */
  onEntry(topic: string, { bytes }: Frame): void {
    const ending = endingOf(bytes);
    if (ending === undefined) return;
    this.#runs.get(sourceKey(topic))?.abort();
    for (const connection of [...this.node.store.subscribers(topic)]) {
      if (connection.state.kind === 'open') this.#close(connection, ending);
    }
  }

  /** Ends the streams of followers here that were given the last entry while they opened, or whose end was not noted yet. */
  async closeEnded(key: string): Promise<void> {
    try {
      const ended = await this.#locks.endOf(key);
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

  /** Resolves when none runs here any more, or after so many milliseconds. */
  async ended(timeout: number): Promise<void> {
    if (this.#ends.size === 0) return;
    await withTimeout(Promise.all(this.#ends), timeout, () => undefined);
  }

  /** Gives up what still runs here, so that its followers hear of it at once. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#watch.stop();
    const left = [...this.#runs];
    for (const [, run] of left) run.abort();
    await Promise.all(this.#ends);
  }

  /** Ends the stream of a client that has been given the last entry. */
  #close(connection: LocalConnection, ending: SourceEnding): void {
    if (ending === 'lost') this.node.telemetry.connections.reset('PRODUCER_LOST');
    connection.close(ending === 'completed' ? 'completed' : 'failed', NOTHING);
  }

  #run(key: string, start: SourceFactory): void {
    if (this.#stopped) return;
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
    this.#runs.set(key, run);
    const ended = this.#runToEnd(key, run, start).finally(() => {
      this.#runs.delete(key);
      this.#ends.delete(ended);
    });
    this.#ends.add(ended);
  }

  async #runToEnd(key: string, run: SourceRun, start: SourceFactory): Promise<void> {
    const { lease } = this.node.options.source;
    const keeping = new Periodic(() => this.#keep(key, run), { everyMs: lease / 3 });
    keeping.start();
    let ending: SourceEnding = 'completed';
    try {
      await run.run(() => start({ signal: run.signal }));
      if (run.signal.aborted) ending = 'lost';
    } catch (error) {
      ending = run.signal.aborted ? 'lost' : 'failed';
      this.node.logger.error('a resumable source failed; its streams were ended', { key, error });
    } finally {
      run.abort();
      keeping.stop();
    }
    await run
      .persist(() => this.#end(key, ending))
      .catch((error: unknown) => {
        this.node.logger.warn('the end of a source could not be published; other nodes do it', {
          key,
          error,
        });
      });
  }

  async #keep(key: string, run: SourceRun): Promise<void> {
    const askedAt = performance.now();
    try {
      if (await this.#locks.acquire(key)) run.prolong(askedAt);
      else run.abort();
    } catch (error) {
      this.node.logger.debug('the lock of a source could not be prolonged; trying again', {
        key,
        error,
      });
    }
  }

  /** Ends the sources that are followed here and whose node is gone. Returns how many it ended. */
  async #endLost(): Promise<number> {
    let lost = 0;
    for (const topic of [...this.node.store.topics()].filter(isSourceTopic)) {
      const key = sourceKey(topic);
      if (this.#runs.has(key)) continue;
      try {
        if ((await this.#locks.endOf(key)) !== undefined) {
          await this.closeEnded(key);
        } else if (!(await this.#locks.isHeld(key)) && (await this.#locks.acquire(key))) {
          if (await this.#end(key, 'lost')) lost += 1;
        }
      } catch (error) {
        this.node.logger.debug('the node of a source could not be looked up; trying again', {
          key,
          error,
        });
      }
    }
    return lost;
  }

  /** Publishes the last entry, if this node has the lock. Returns whether it did. */
  async #end(key: string, ending: SourceEnding): Promise<boolean> {
    if ((await this.#locks.endOf(key)) !== undefined) return false;
    if (!(await this.#locks.acquire(key))) return false;
    const lost = ending === 'lost';
    const body = lost ? await this.#lostBody(key) : closedFrame(ending, undefined).bytes;
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
    return true;
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

  async #hasBegun(key: string): Promise<boolean> {
    return (await this.#page(key)).frames.length > 0;
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

/** Whether a client that has everything up to an id has all of a source that ended there. */
function hasAll(lastEventId: string | undefined, ended: string): boolean {
  const has = lastEventId === undefined ? undefined : parseCursor(lastEventId);
  const end = parseCursor(ended);
  return has !== undefined && end !== undefined && has.epoch === end.epoch && !isAfter(end, has);
}

/** How and where a source ended. */
interface SourceEnd {
  /** The id of its last entry. */
  readonly id: string;
  readonly ending: SourceEnding;
}

/** Which node runs which resumable source, and which have ended, as locks of the cluster. */
class SourceLocks {
  /** Names this node's runs; another process of the same node id has another name. */
  readonly #holder: string;
  readonly #settings: SourceSettings;

  constructor(private readonly node: SseNode) {
    this.#holder = `${node.options.node.id}~${randomBytes(8).toString('hex')}`;
    this.#settings = node.options.source;
  }

  /** Acquires or prolongs the right to run a source. @throws SseError `UNAVAILABLE` */
  acquire(key: string): Promise<boolean> {
    const { locks } = this.node.cluster;
    return locks.acquireLock(`run ${key}`, this.#holder, this.#settings.lease);
  }

  /** Whether a node runs it. @throws SseError `UNAVAILABLE` */
  async isHeld(key: string): Promise<boolean> {
    return (await this.node.cluster.locks.lockHolder(`run ${key}`)) !== undefined;
  }

  /** Records its end, as the holder of a lock that is not prolonged. @throws SseError `UNAVAILABLE` */
  async recordEnd(key: string, { id, ending }: SourceEnd): Promise<void> {
    const { locks } = this.node.cluster;
    await locks.acquireLock(`end ${key}`, `${id} ${ending}`, this.#settings.ttl);
  }

  /** Its end, once it has ended. @throws SseError `UNAVAILABLE` */
  async endOf(key: string): Promise<SourceEnd | undefined> {
    const recorded = await this.node.cluster.locks.lockHolder(`end ${key}`);
    if (recorded === undefined) return undefined;
    const [id = '', ending] = recorded.split(' ');
    // Only `recordEnd` writes it.
    return { id, ending: ending as SourceEnding };
  }
}
