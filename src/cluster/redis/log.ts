import { randomBytes } from 'node:crypto';
import type { Publication, PublicationResult, ReplayPage, ReplayRequest } from '../../contracts/cluster.js';
import type { Cursor, Gap, Position } from '../../contracts/events.js';
import { SseError } from '../../errors.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { cursorBefore, formatCursor, isAfter } from '../../protocol/cursor.js';
import { prependId } from '../../protocol/event-stream.js';
import { gapOf, gapOfLostLog } from '../../protocol/gap.js';
import { EVERYONE } from '../../protocol/names.js';
import type { ClusterNode } from './cluster-node.js';
import { beforeSending } from './failures.js';
import { encodePayload, encodeUnkept, parsePayload, parsePosition } from './frames.js';
import type { RedisGateway } from './gateway.js';
import { publishCommand } from './keys.js';
import type { LiveNodes } from './leases.js';
import { type HistoryReply, historyScript, type LogRequest, publishScript, publishUnkeptScript } from './scripts.js';
import type { FrameSigner } from './signing.js';

const TOPICS_PER_CALL = 32;
const MAX_ENTRIES = 500;
const ORIGIN: Position = { ms: 0, sequence: 0 };

/** An entry of the log. */
export interface LogEntry {
  readonly topic: string;
  readonly position: Cursor;
  /** The event with its id in front. */
  readonly bytes: Buffer;
  readonly trace: string | undefined;
  /** Names the publication, where publications are signed. */
  readonly origin: Buffer | undefined;
  /** As the publisher gave it. */
  readonly id: string | undefined;
}

/** A part of the log, in order. */
export interface LogPage {
  /** The newest entry when it was read. */
  readonly head: Cursor;
  /** Complete up to here. */
  readonly completeTo: Position;
  readonly entries: readonly LogEntry[];
  /** Set when entries before the first one are missing; in another log, entries after its beginning. */
  readonly gap: Gap | undefined;
  /** Set when the cursor was of another log, or newer than the log: then the page is the log's beginning. */
  readonly lost: 'EPOCH' | 'AHEAD' | undefined;
}

/** Milliseconds that a node's idea of Redis' clock may be wrong. */
const CLOCK_SLACK_MS = 1_000;
/** Milliseconds before an opening in which a publication counts as missed, where the position of the node is not known. */
const UNKNOWN_MS = 60_000;
/** Entries of each topic that are read to find which topics have one. */
const PROBED_ENTRIES = 4;

/** Reads the ordered log in Redis. */
export class LogReader {
  constructor(private readonly node: ClusterNode) {}

  /** The newest entry. @throws SseError */
  async head(): Promise<Cursor> {
    const [reply] = await this.#ask([EVERYONE], undefined, 1);
    return headOf(reply).head;
  }

  /** @throws SseError */
  async replay({ topics, after, opened, limit, broadcasts }: ReplayRequest): Promise<ReplayPage> {
    const wanted = broadcasts === false ? topics : [EVERYONE, ...topics];
    if (opened !== undefined) return this.#missedSince(wanted, opened);
    if (after === undefined) {
      const head = await this.head();
      return { head, completeTo: head, frames: [] };
    }
    const page = await this.read(wanted, after, limit);
    const { head, completeTo, entries, lost } = page;
    const frames = entries.map(({ bytes, position }) => ({ bytes, position }));
    const gap = lost === undefined ? page.gap : gapOfLostLog(lost, resumedFrom(page));
    return gap === undefined ? { head, completeTo, frames } : { head, completeTo, frames, gap };
  }

  /** The entries of these topics after a cursor, at most `limit`. @throws SseError */
  async read(topics: readonly string[], after: Cursor, limit: number): Promise<LogPage> {
    const wanted = [...new Set(topics)];
    const replies = await this.#ask(wanted, after, limit);
    const other = replies.find(({ status }) => status !== 'OK');
    if (other === undefined) {
      const page = merge(this.node.signer, wanted, replies, limit);
      return {
        ...page,
        gap: gapOf(missingOf(wanted, replies), resumedFrom(page)),
        lost: undefined,
      };
    }
    const lost = other.status === 'EPOCH' ? 'EPOCH' : 'AHEAD';
    const { epoch } = headOf(other).head;
    const everything = await this.#ask(wanted, { epoch, ...ORIGIN }, limit);
    // The log was lost once more in between.
    if (everything.some(({ status }) => status !== 'OK')) return this.read(topics, after, limit);
    const missing = missingOf(wanted, everything);
    // A bound that is no entry says nothing about a log that began since.
    for (const [topic, until] of missing) if (until.sequence === 0) missing.delete(topic);
    const page = merge(this.node.signer, wanted, everything, limit);
    return { ...page, gap: gapOf(missing, resumedFrom(page)), lost };
  }

  /** A gap for the topics of which a client may have missed something that opened while this node was cut off. */
  async #missedSince(
    topics: readonly string[],
    { openedAt, seen }: NonNullable<ReplayRequest['opened']>,
  ): Promise<ReplayPage> {
    const head = await this.head();
    const page: ReplayPage = { head, completeTo: head, frames: [] };
    const known = seen?.epoch === head.epoch ? seen : undefined;
    const openedMs = (this.node.clock.earliest ?? head.ms) - (performance.now() - openedAt);
    const ms = Math.max(0, Math.floor(openedMs - (known === undefined ? UNKNOWN_MS : CLOCK_SLACK_MS)));
    const from: Position = known !== undefined && known.ms >= ms ? known : { ms, sequence: 0 };
    if (!isAfter(head, from)) return page;
    const missed = await this.#topicsAfter(topics, { epoch: head.epoch, ...from });
    const gap = gapOf(new Map([...missed].map(topic => [topic, head])), head);
    return gap === undefined ? page : { ...page, gap };
  }

  /** The topics that have an entry after a position, or had one that is gone. */
  async #topicsAfter(topics: readonly string[], from: Cursor): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    for (let left = topics; left.length > 0; left = left.filter(topic => !found.has(topic))) {
      const page = await this.read(left, from, PROBED_ENTRIES * left.length);
      const { size } = found;
      for (const topic of page.gap?.topics?.keys() ?? []) found.add(topic);
      for (const { topic } of page.entries) found.add(topic);
      if (page.lost === undefined && !isAfter(page.head, page.completeTo)) break;
      // The page ends where one topic has more, and that topic is found. In another log any topic may have had an entry.
      if (page.lost !== undefined || found.size === size) return new Set(topics);
    }
    return found;
  }

  #ask(topics: readonly string[], after: Cursor | undefined, limit: number): Promise<HistoryReply[]> {
    const { gateway, options } = this.node;
    const calls: Promise<HistoryReply>[] = [];
    for (let from = 0; from < topics.length; from += TOPICS_PER_CALL) {
      const some = topics.slice(from, from + TOPICS_PER_CALL);
      calls.push(
        gateway.run(historyScript, {
          ...logRequest(gateway, options),
          topics: some.map(topic => gateway.keys.topic(topic)),
          after,
          limit: Math.min(limit, MAX_ENTRIES),
        }),
      );
    }
    return Promise.all(calls);
  }
}

/** Entries of several replies in one order; complete up to where the first of them ends. */
function merge(
  signer: FrameSigner,
  topics: readonly string[],
  replies: readonly HistoryReply[],
  limit: number,
): Pick<LogPage, 'head' | 'completeTo' | 'entries'> {
  const { head } = headOf(replies[0]);
  let completeTo: Position = head;
  const all: LogEntry[] = [];
  for (const [call, reply] of replies.entries()) {
    if (reply.status !== 'OK') throw new SseError('INTERNAL', 'a page must be one of one log');
    completeTo = earlier(completeTo, wellFormed(parsePosition(reply.completeTo)));
    for (const { topic, id, payload } of reply.entries) {
      const position = { epoch: reply.epoch, ...wellFormed(parsePosition(id)) };
      const name = topicOf(topics, call, topic);
      const parsed = parsePayload(signer, name, payload);
      if (parsed.kind === 'unreadable') continue;
      const { body, trace, origin, id: publication } = parsed;
      all.push({
        topic: name,
        position,
        bytes: prependId(formatCursor(position), body),
        trace,
        origin,
        id: publication,
      });
    }
  }
  all.sort((a, b) => (isAfter(a.position, b.position) ? 1 : -1));
  const entries = all.filter(({ position }) => !isAfter(position, completeTo));
  const last = entries[limit - 1];
  return last === undefined || entries.length === limit
    ? { head, completeTo, entries }
    : { head, completeTo: last.position, entries: entries.slice(0, limit) };
}

/** The topics with missing entries, each with the newest missing entry. */
function missingOf(topics: readonly string[], replies: readonly HistoryReply[]): Map<string, Position> {
  const missing = new Map<string, Position>();
  for (const [call, reply] of replies.entries()) {
    if (reply.status !== 'OK') continue;
    for (const { topic, until } of reply.gaps) {
      missing.set(topicOf(topics, call, topic), wellFormed(parsePosition(until)));
    }
  }
  return missing;
}

/** Just before the first entry, so that a client that leaves now gets that entry later. */
function resumedFrom({ head, completeTo, entries }: Pick<LogPage, 'head' | 'completeTo' | 'entries'>): Cursor {
  const [first] = entries;
  if (first !== undefined) return cursorBefore(first.position);
  return { epoch: head.epoch, ms: completeTo.ms, sequence: completeTo.sequence };
}

function headOf(reply: HistoryReply | undefined): { readonly head: Cursor } {
  if (reply === undefined || reply.status === 'LIMIT') {
    throw new SseError('INTERNAL', 'history.lua must answer a page, got its refusal');
  }
  return { head: { epoch: reply.epoch, ...wellFormed(parsePosition(reply.head)) } };
}

function topicOf(topics: readonly string[], call: number, at: number): string {
  const topic = topics[call * TOPICS_PER_CALL + at];
  if (topic === undefined) throw new SseError('INTERNAL', 'history.lua answered another topic');
  return topic;
}

function wellFormed(position: Position | undefined): Position {
  if (position === undefined) throw new SseError('INTERNAL', 'the log must have ids of its own');
  return position;
}

function earlier(a: Position, b: Position): Position {
  return isAfter(a, b) ? b : a;
}

const CATCH_UP_ENTRIES = 500;

/** One step of a catch-up. The gaps come before the entries; afterwards everything up to `position` is delivered. */
export interface CatchUpStep {
  readonly gaps: readonly Gap[];
  readonly entries: readonly LogEntry[];
  readonly position: Cursor;
}

/**
 * Reads what was published after a position, up to the head of the first page: entries that are published meanwhile do not
 * prolong it. A gap is in the step of the first entry after it. @throws SseError
 */
export async function* catchUp(
  reader: Pick<LogReader, 'read'>,
  topics: () => readonly string[],
  from: Cursor,
): AsyncGenerator<CatchUpStep, void, void> {
  let position = from;
  let end: Cursor | undefined;
  for (;;) {
    const page = await reader.read(topics(), position, CATCH_UP_ENTRIES);
    const { head, lost, completeTo, entries } = page;
    if (lost === 'AHEAD') {
      // The log may have grown past the position meanwhile.
      if (!isAfter(position, head)) continue;
      // The entries that are left were delivered before.
      yield { gaps: [gapOfLostLog(lost, head)], entries: [], position: head };
      return;
    }
    const goal: Cursor = lost === undefined ? (end ?? head) : head;
    end = goal;
    position = isAfter(completeTo, goal) ? goal : { epoch: head.epoch, ...completeTo };
    const wanted = entries.filter(entry => !isAfter(entry.position, goal));
    yield { gaps: gapsBefore(page), entries: wanted, position };
    // The second condition ends it when the log lost its end meanwhile, so that the goal is never reached.
    if (!isAfter(goal, completeTo) || !isAfter(head, completeTo)) return;
  }
}

/** The gaps to report before the entries of a page. */
function gapsBefore(page: LogPage): Gap[] {
  const { gap, lost } = page;
  const gaps: Gap[] = [];
  // In another log this gap concerns only clients that are in it already. All others get the reset of the former log's end.
  if (gap !== undefined) gaps.push(gap);
  if (lost !== undefined) gaps.push(gapOfLostLog(lost, resumedFrom(page)));
  return gaps;
}

const IDEMPOTENCY_MS = 60_000;

/** Publishes events: into the ordered log and to its subscribers in one step, or only to the subscribers. */
export class LogWriter {
  constructor(
    private readonly node: ClusterNode,
    private readonly liveNodes: Pick<LiveNodes, 'count'>,
  ) {}

  /** @throws SseError */
  async publish(publication: Publication): Promise<PublicationResult> {
    // Counted before: a failure afterwards would make the caller repeat a publication that was made.
    const nodes = await beforeSending(this.liveNodes.count());
    const cursor = await (publication.retention === false ? this.#publish(publication) : this.#append(publication));
    return cursor === undefined ? { nodes } : { cursor, nodes };
  }

  async #append({ topic = EVERYONE, retention, idempotencyKey, ...event }: Publication) {
    const { gateway, options, signer } = this.node;
    const { maxEntries, ttl, whole } = retention || { maxEntries: 0, ttl: 0 };
    const request = logRequest(gateway, options);
    const { id, epoch } = await gateway.run(publishScript, {
      ...request,
      metaMs: Math.max(request.metaMs, ttl),
      topic: gateway.keys.topic(topic),
      payload: encodePayload(signer, topic, event),
      maxEntries,
      maxAgeMs: whole === true ? 0 : ttl,
      streamMs: ttl,
      ...this.#subscribers(topic),
      // Every key must be given and in the log's slot, used or not.
      idempotency: idempotencyKey === undefined ? request.meta : gateway.keys.idempotency(topic, idempotencyKey),
      idempotencyMs: idempotencyKey === undefined ? 0 : IDEMPOTENCY_MS,
    });
    const position = parsePosition(id);
    if (position === undefined) throw new SseError('INTERNAL', 'publish.lua must answer an id');
    return { epoch, ...position };
  }

  async #publish({ topic = EVERYONE, idempotencyKey, ...event }: Publication): Promise<undefined> {
    const { gateway, signer } = this.node;
    const { keys } = gateway;
    const frame = encodeUnkept(signer, topic, event);
    if (idempotencyKey === undefined) {
      await gateway.publish(keys.topicChannel(topic), frame, keys.logMode);
      return;
    }
    await gateway.run(publishUnkeptScript, {
      mark: keys.unkeptMark(topic, idempotencyKey),
      frame,
      ...this.#subscribers(topic),
      ms: IDEMPOTENCY_MS,
    });
  }

  #subscribers(topic: string) {
    const { keys } = this.node.gateway;
    return { pubCommand: publishCommand(keys.logMode), channel: keys.topicChannel(topic) };
  }
}

/** Milliseconds that the log's clock jumps after a failover: more than clocks differ and replication lags. */
const FAILOVER_JUMP_MS = 60_000;
/** Last ids are kept longer than entries, so that an old cursor gets a gap. */
const MEMORY_FACTOR = 10;

/** What every call to the log carries. */
function logRequest({ keys }: RedisGateway, { history, mailbox }: ResolvedSseOptions): LogRequest {
  const own = Object.values(history.topics).map(topic => (topic === false ? 0 : (topic.ttl ?? 0)));
  return {
    meta: keys.logMeta,
    metaMs: Math.max(history.ttl, mailbox.ttl, ...own) * MEMORY_FACTOR,
    newEpoch: randomBytes(6).toString('hex'),
    failoverJumpMs: FAILOVER_JUMP_MS,
  };
}
