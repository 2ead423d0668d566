import type { Backlog, ReplayPage, ReplayRequest } from '../../contracts/cluster.js';
import type { Cursor, Frame, Position } from '../../contracts/events.js';
import { SseError } from '../../errors.js';
import { beginningSince, earlier, isAfter, later, ORIGIN } from '../../protocol/cursor.js';
import { gapOf } from '../../protocol/event-stream.js';
import { EVERYONE } from '../../protocol/names.js';
import type { ClusterNode } from './cluster-node.js';
import { isUnreadable } from './failures.js';
import { logLifeMs, logRequest } from './log.js';
import {
  entryOf,
  LogScan,
  type Look,
  newestOf,
  PAGE_BYTES,
  type ReadTopics,
  topicAt,
  TOPICS_PER_CALL,
} from './log-scan.js';
import { parsePosition, wellFormed } from './script.js';
import { backlogScript, historyScript, lookScript } from './scripts.js';
import type { LogEntry, LogTail } from './tail.js';
import type { UnreadableKeys } from './unreadable.js';

type Wanted = NonNullable<ReplayRequest['backlog']>;
type Since = NonNullable<ReplayRequest['since']>;
const NONE: Since = new Map();
/** Topics whose last ids one call reads. */
const TOPICS_PER_LOOK = 1_000;
/** With more topics a look asks for the head first, which is enough for a reader at rest. */
const FEW_TOPICS = 256;
/** Milliseconds between the beginning of an opening and the moment that is taken for it. */
const CLOCK_SLACK_MS = 1_000;
/** Milliseconds before an opening in which a publication counts as missed, where the position of the node is not known. */
const UNKNOWN_MS = 60_000;
/** How often a call that timed out is repeated, each time at half the size. */
const HALVINGS = 3;
/** Entries of a backlog that one call reads, as `MOST` of the scripts says. */
const ENTRIES_PER_CALL = 500;
/** Pages for clients that are read at once; other clients wait for their turn. */
const PAGES_AT_ONCE = 4;

/** A topic that may have entries. */
interface Present {
  readonly name: string;
  readonly last: Position;
  /** Its reader gets the entries after this one. */
  readonly granted: Position;
}

/** Reads the ordered log: for clients, from the tail or from Redis, and for the feed. */
export class LogReader {
  readonly #turns = new Turns(PAGES_AT_ONCE);
  /** Pages that are being read, by what was asked for. */
  readonly #underWay = new Map<string, Promise<ReplayPage>>();
  /** Backlogs that are being read, by what they will have. */
  readonly #backlogs = new Map<string, Promise<readonly Frame[] | undefined>>();

  /** @param tail serves what it has in place of Redis, and gets what is read for clients */
  constructor(
    private readonly node: ClusterNode,
    private readonly tail: LogTail,
    private readonly unreadable: Pick<UnreadableKeys, 'noteTopics'>,
  ) {}

  /** Milliseconds between two looks at most: a look renews the life of the log's epoch. */
  get longestPauseMs(): number {
    return logLifeMs(this.node.options) / 4;
  }

  /** A page for a client. Clients that ask for the same share one page, and few pages are read at once. @throws SseError */
  async replay({
    topics,
    after,
    until,
    opened,
    limit,
    broadcasts,
    since = NONE,
    forgets,
    backlog,
  }: ReplayRequest): Promise<ReplayPage> {
    const wanted = [...new Set(broadcasts === false ? topics : [EVERYONE, ...topics])];
    if (backlog !== undefined) return this.#withBacklog(wanted, backlog, since, forgets);
    if (opened !== undefined) return this.#missedSince(wanted, opened, forgets);
    if (after === undefined) {
      const head = await this.#headFor(wanted, forgets);
      return { head, completeTo: head, frames: [] };
    }
    // No client stands at the beginning of the log: the caller wants what Redis has now.
    const present = after.ms === 0 ? undefined : this.tail.page(wanted, after, limit, PAGE_BYTES, since);
    if (present !== undefined && (until === undefined || !isAfter(until, present.head))) return present;
    // A read that is under way may have begun before.
    if (after.ms === 0 || until !== undefined) return this.#turns.run(() => this.#page(wanted, after, since, limit));
    const { position } = this.tail;
    const generations = this.tail.generations(wanted);
    const read = (): Promise<ReplayPage> => this.#inTurn(wanted, after, since, limit);
    if (generations === undefined) return read();
    const page = await this.#shared(
      this.#underWay,
      JSON.stringify([wanted, after, limit, generations, ...since]),
      read,
    );
    // What the feed delivered before this call, its client was not there to hold; the page may have been read even earlier.
    if (position === undefined || position.epoch !== page.head.epoch) return position === undefined ? page : read();
    return isAfter(position, page.head) ? { ...page, head: position } : page;
  }

  /**
   * Begins to read topics after a position, up to the log's present head, for the feed: all entries of a topic whose key
   * another program wrote count as missing, and keep back no other topic. @throws SseError
   */
  async scan(topics: readonly string[], after: Cursor): Promise<LogScan> {
    return new LogScan(this.node.signer, this.#readAny, await this.#look([...new Set(topics)], after), after);
  }

  /** The newest entry. @throws SseError */
  async head(): Promise<Cursor> {
    return (await this.#ask([])).head;
  }

  /** A call that timed out is repeated at half the size. */
  readonly #read: ReadTopics = async (topics, epoch, limit) => {
    const { gateway } = this.node;
    const request = {
      meta: gateway.keys.logMeta,
      topics: topics.map(({ name }) => gateway.keys.topic(name)),
      after: topics.map(({ to: { ms, sequence } }) => ({ ms, sequence })),
      epoch,
    };
    for (let part = 1; ; part *= 2) {
      const size = { limit: Math.ceil(limit / part), bytes: Math.ceil(PAGE_BYTES / part) };
      try {
        const reply = await gateway.run(historyScript, { ...request, ...size });
        if (reply.status === 'LIMIT') throw refused('history');
        return reply.status === 'EPOCH' ? 'EPOCH' : reply;
      } catch (error) {
        const ends = part >= 2 ** HALVINGS || !SseError.is(error, 'UNAVAILABLE') || !gateway.reachable;
        if (ends || isUnreadable(error)) this.#refuse(topics, error);
      }
    }
  };

  /** As {@link #read}: finds an unreadable topic by halving, and answers that all of it is missing. */
  readonly #readAny: ReadTopics = async (topics, epoch, limit) => {
    try {
      return await this.#read(topics, epoch, limit);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      if (topics.length > 1) return this.#readAny(topics.slice(0, Math.ceil(topics.length / 2)), epoch, limit);
      return { status: 'OK', read: 1, gaps: [{ topic: 0, until: undefined }], more: [], entries: [] };
    }
  };

  async #headFor(topics: readonly string[], forgets: string | undefined): Promise<Cursor> {
    const generations = this.tail.generations(topics);
    const { head } = await this.#ask([], forgets);
    this.#begin(topics, generations, head);
    return head;
  }

  /** The head, and the newest entries up to it. Clients that would get the same share one reading, whenever it began. */
  async #withBacklog(
    wanted: readonly string[],
    { topics, most }: Wanted,
    since: Since,
    forgets?: string,
  ): Promise<ReplayPage> {
    for (;;) {
      const generations = this.tail.generations(wanted);
      const { head, lasts } = await this.#look([...new Set(topics)], undefined, forgets);
      this.#begin(wanted, generations, head);
      // A topic without a last id has no entries.
      const present = [...lasts].flatMap(([name, last]) =>
        last === undefined ? [] : [{ name, last, granted: beginningSince(since.get(name), head.epoch, ORIGIN) }],
      );
      if (present.length === 0) return { head, completeTo: head, frames: [] };
      const newest = earlier(present.map(({ last }) => last).reduce(later), head);
      const until = { epoch: head.epoch, ms: newest.ms, sequence: newest.sequence };
      const frames = await this.#shared(this.#backlogs, JSON.stringify([topics, most, until, ...since]), () =>
        this.#turns.run(() => this.#newest(present, most, until)),
      );
      // Else the log was lost meanwhile.
      if (frames !== undefined) return { head, completeTo: head, frames };
    }
  }

  /** The newest entries of topics up to a position, in order; `undefined` when the log is another one. */
  async #newest(topics: readonly Present[], most: Backlog, until: Cursor): Promise<readonly Frame[] | undefined> {
    const waiting = topics.toSorted((a, b) => (isAfter(a.last, b.last) ? -1 : 1));
    const limit = most === 'latest' ? waiting.length : most;
    let found: readonly LogEntry[] = [];
    // Once there are enough, only newer ones are wanted.
    let after: Position = ORIGIN;
    for (let at = 0; at < waiting.length; at += TOPICS_PER_CALL) {
      const some = waiting.slice(at, at + TOPICS_PER_CALL);
      const [first] = some;
      if (first === undefined || !isAfter(first.last, after)) break;
      const entries = await this.#readBackward(some, most, until, after);
      if (entries === undefined) return undefined;
      const newest = newestOf([...found, ...entries], limit);
      found = newest.entries;
      after = (newest.full ? found.at(-1)?.position : undefined) ?? after;
    }
    return found.map(({ frame }) => frame).reverse();
  }

  /** The newest entries of a few topics, as many as one page may have, in any order. */
  async #readBackward(
    topics: readonly Present[],
    most: Backlog,
    until: Cursor,
    after: Position,
  ): Promise<LogEntry[] | undefined> {
    const { gateway, signer } = this.node;
    const { epoch } = until;
    const stream = topics.map(({ name }) => gateway.keys.topic(name).stream);
    const request = { meta: gateway.keys.logMeta, stream, epoch, after: idOf(after) };
    const found: LogEntry[] = [];
    let newest = idOf(until);
    let bytes = PAGE_BYTES;
    for (let left = most === 'latest' ? topics.length : most; left > 0 && bytes > 0;) {
      const limit = Math.min(left, ENTRIES_PER_CALL);
      const each = most === 'latest' ? 1 : limit;
      const reply = await gateway
        .run(backlogScript, { ...request, newest, limit, each, bytes })
        .catch((error: unknown) => this.#refuse(topics, error));
      if (reply.status === 'LIMIT') throw refused('backlog');
      if (reply.status === 'EPOCH') return undefined;
      for (const { topic, id, payload } of reply.entries) {
        const { name, granted } = topicAt(topics, topic);
        const entry = entryOf(signer, name, { epoch, ...wellFormed(id) }, payload);
        if (entry !== undefined && isAfter(entry.position, granted)) found.push(entry);
        newest = `(${id}`;
        bytes -= payload.length;
      }
      left = reply.entries.length < limit ? 0 : left - limit;
    }
    return found;
  }

  /** @throws the error of a call that read these topics */
  #refuse(topics: readonly { readonly name: string }[], error: unknown): never {
    const names = topics.map(({ name }) => name);
    this.unreadable.noteTopics(names, error);
    throw error;
  }

  #inTurn(topics: readonly string[], after: Cursor, since: Since, limit: number): Promise<ReplayPage> {
    return this.#turns.run(async () => {
      // Another client may have read it meanwhile.
      const present = this.tail.page(topics, after, limit, PAGE_BYTES, since);
      return present ?? (await this.#page(topics, after, since, limit));
    });
  }

  async #page(topics: readonly string[], after: Cursor, since: Since, limit: number): Promise<ReplayPage> {
    const generations = this.tail.generations(topics);
    const look = await this.#look(topics, after);
    const scan = new LogScan(this.node.signer, this.#read, look, after, since);
    const { head } = scan;
    this.#begin(topics, generations, head);
    const page = await scan.first(limit, slice => {
      if (generations !== undefined) this.tail.learn(slice, head.epoch, scan.run);
    });
    const gap = scan.lostGap(page) ?? page.gap;
    const frames = page.entries.map(({ frame }) => frame);
    return { head, completeTo: page.completeTo, frames, ...(gap && { gap }) };
  }

  /** A gap for the topics of which a client may have missed something that opened while this node was cut off. */
  async #missedSince(
    topics: readonly string[],
    { openedAt, seen }: NonNullable<ReplayRequest['opened']>,
    forgets: string | undefined,
  ): Promise<ReplayPage> {
    const { now, head, forgotten, lasts } = await this.#ask(topics, forgets);
    const known = seen?.epoch === head.epoch ? seen : undefined;
    const openedMs = now - (performance.now() - openedAt);
    const ms = Math.max(0, Math.floor(openedMs - (known === undefined ? UNKNOWN_MS : CLOCK_SLACK_MS)));
    const from: Position = known !== undefined && known.ms >= ms ? known : { ms, sequence: 0 };
    const missed = new Map<string, Position>();
    for (const [topic, last = forgotten] of lasts) if (isAfter(last, from)) missed.set(topic, last);
    const gap = gapOf(missed, head);
    return { head, completeTo: head, frames: [], ...(gap && { gap }) };
  }

  /** The head was read after Redis acknowledged these subscriptions, so the feed delivers all that follows. */
  #begin(topics: readonly string[], generations: readonly number[] | undefined, head: Cursor): void {
    if (generations === undefined) return;
    for (const [at, topic] of topics.entries()) this.tail.begin(topic, head, generations[at]);
  }

  #shared<T>(underWay: Map<string, Promise<T>>, key: string, read: () => Promise<T>): Promise<T> {
    const present = underWay.get(key);
    if (present !== undefined) return present;
    const page = read().finally(() => underWay.delete(key));
    underWay.set(key, page);
    return page;
  }

  /** Where the log stands, and the last ids of these topics unless the reader has everything. */
  async #look(topics: readonly string[], after: Cursor | undefined, forgets?: string): Promise<Look> {
    for (;;) {
      const few = topics.length <= FEW_TOPICS;
      const look = await this.#ask(few ? topics : [], forgets);
      const { epoch, ms, sequence } = look.head;
      if (few || (epoch === after?.epoch && ms === after.ms && sequence === after.sequence)) return look;
      const lasts = new Map<string, Position | undefined>();
      let isOne = true;
      for (let from = 0; isOne && from < topics.length; from += TOPICS_PER_LOOK) {
        const part = await this.#ask(topics.slice(from, from + TOPICS_PER_LOOK));
        isOne = part.head.epoch === epoch;
        for (const [topic, last] of part.lasts) lasts.set(topic, last);
      }
      // Else the log was lost in between.
      if (isOne) return { ...look, lasts };
    }
  }

  /** @param forgets a connection id of which nothing shall be remembered */
  async #ask(topics: readonly string[], forgets?: string): Promise<Look> {
    const { gateway, options } = this.node;
    const { keys } = gateway;
    const last = topics.map(topic => keys.topic(topic).last);
    const followed = forgets === undefined ? keys.logMeta : keys.followed(forgets);
    const request = { ...logRequest(gateway, options), forgets: followed, last };
    const reply = await gateway.run(lookScript, request).catch((error: unknown) => this.#refuse([], error));
    if (reply.status === 'LIMIT') throw refused('look');
    const { now, run, epoch } = reply;
    // What no node wrote is as good as forgotten.
    const lasts = new Map(topics.map((topic, at) => [topic, parsePosition(reply.lasts[at] ?? '')]));
    const head = { epoch, ...wellFormed(reply.head) };
    // The feed begins where the first client of this node may stand, and not at what is published before it reads.
    if (this.tail.position === undefined) this.tail.moveTo(head);
    return { now, run, head, forgotten: wellFormed(reply.forgotten), lasts };
  }
}

function idOf({ ms, sequence }: Position): string {
  return `${ms}-${sequence}`;
}

function refused(script: string): SseError {
  return new SseError('INTERNAL', `${script}.lua must answer, got its refusal of so many topics`);
}

/** Lets so many calls run at once; the others wait, first come, first served. */
class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  async run<T>(call: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>(resolve => this.#waiting.push(resolve));
    try {
      return await call();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
