import type { ReplayPage, ReplayRequest } from '../../contracts/cluster-coordinator.js';
import type { Cursor, Position } from '../../contracts/frame.js';
import { SseError } from '../../errors/sse-error.js';
import { formatCursor, isAfter } from '../../protocol/cursor.js';
import { prependId } from '../../protocol/encode-event.js';
import { historyScript, type HistoryReply } from '../../redis/scripts/history-script.js';
import { EVERYONE } from '../everyone.js';
import { decodePayload, positionOf } from '../wire/publication-frame.js';
import type { ClusterNode } from './cluster-node.js';
import { logRequest } from './log-settings.js';

const TOPICS_PER_CALL = 32;
const MAX_ENTRIES = 500;
const ORIGIN: Position = { ms: 0, sequence: 0 };

/** An entry of the log. */
export interface LogEntry {
  readonly topic: string;
  readonly position: Position;
  /** The event with its id in front. */
  readonly bytes: Buffer;
}

/** A topic of which entries are missing. */
export interface LogGap {
  readonly topic: string;
  /** The newest entry that is missing, or one after it. */
  readonly until: Position;
}

/** A part of the log, in order. */
export interface LogPage {
  /** The newest entry when it was read. */
  readonly tip: Cursor;
  /** Complete up to here. */
  readonly upto: Position;
  readonly entries: readonly LogEntry[];
  /** Holes before the first entry. */
  readonly gaps: readonly LogGap[];
  /** Set when the cursor was of another log, or newer than the log: then this is all of it. */
  readonly lost: 'EPOCH' | 'AHEAD' | undefined;
}

/** Reads the ordered log in Redis. */
export class LogReader {
  constructor(private readonly node: ClusterNode) {}

  /** The newest entry. @throws SseError */
  async tip(): Promise<Cursor> {
    const [reply] = await this.#ask([EVERYONE], undefined, 1);
    return headOf(reply).tip;
  }

  /** @throws SseError */
  async replay({ topics, after, limit, broadcasts }: ReplayRequest): Promise<ReplayPage> {
    if (after === undefined) {
      const tip = await this.tip();
      return { tip, upto: tip, frames: [] };
    }
    const wanted = broadcasts === false ? topics : [EVERYONE, ...topics];
    const { tip, upto, entries, gaps, lost } = await this.read(wanted, after, limit);
    const frames = entries.map(({ bytes, position }) => ({ bytes, position }));
    // The hole of a lost log is one of everything; the client is told the topics it follows.
    if (lost !== undefined) return { tip, upto, frames, reset: { reason: lost, topics } };
    if (gaps.length === 0) return { tip, upto, frames };
    const missing = gaps.map(({ topic }) => topic);
    return { tip, upto, frames, reset: { reason: 'GAP', topics: missing } };
  }

  /** The entries of these topics after a cursor, at most `limit`. @throws SseError */
  async read(topics: readonly string[], after: Cursor, limit: number): Promise<LogPage> {
    const wanted = [...new Set(topics)];
    const replies = await this.#ask(wanted, after, limit);
    const other = replies.find(({ status }) => status !== 'OK');
    if (other === undefined) {
      return { ...merge(wanted, replies, limit), gaps: gapsOf(wanted, replies), lost: undefined };
    }
    const lost = other.status === 'EPOCH' ? 'EPOCH' : 'AHEAD';
    const { epoch } = headOf(other).tip;
    const everything = await this.#ask(wanted, { epoch, ...ORIGIN }, limit);
    return { ...merge(wanted, everything, limit), gaps: [], lost };
  }

  #ask(
    topics: readonly string[],
    after: Cursor | undefined,
    limit: number,
  ): Promise<HistoryReply[]> {
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
  topics: readonly string[],
  replies: readonly HistoryReply[],
  limit: number,
): Pick<LogPage, 'tip' | 'upto' | 'entries'> {
  const { tip } = headOf(replies[0]);
  let upto: Position = tip;
  const all: LogEntry[] = [];
  for (const [call, reply] of replies.entries()) {
    // Lost between two calls: nothing is known to be complete, so the next read tells.
    if (reply.status !== 'OK') return { tip, upto: ORIGIN, entries: [] };
    upto = earlier(upto, wellFormed(positionOf(reply.upto)));
    for (const { topic, id, payload } of reply.entries) {
      const position = wellFormed(positionOf(id));
      const decoded = decodePayload(payload);
      if (decoded === undefined) continue;
      const cursor = formatCursor({ epoch: reply.epoch, ...position });
      const bytes = prependId(cursor, decoded.body);
      all.push({ topic: topicOf(topics, call, topic), position, bytes });
    }
  }
  all.sort((a, b) => (isAfter(a.position, b.position) ? 1 : -1));
  const entries = all.filter(({ position }) => !isAfter(position, upto));
  const last = entries[limit - 1];
  return last === undefined || entries.length === limit
    ? { tip, upto, entries }
    : { tip, upto: last.position, entries: entries.slice(0, limit) };
}

/** Topics with holes: each ends before its first entry that is there, or else with the log. */
function gapsOf(topics: readonly string[], replies: readonly HistoryReply[]): LogGap[] {
  return replies.flatMap((reply, call) => {
    if (reply.status !== 'OK') return [];
    return reply.gaps.map(gap => {
      const first = reply.entries.find(({ topic }) => topic === gap);
      const until = wellFormed(positionOf(first?.previous ?? reply.tip));
      return { topic: topicOf(topics, call, gap), until };
    });
  });
}

function headOf(reply: HistoryReply | undefined): { readonly tip: Cursor } {
  if (reply === undefined || reply.status === 'LIMIT') {
    throw new SseError('INTERNAL', 'history.lua must answer a page, got its refusal');
  }
  return { tip: { epoch: reply.epoch, ...wellFormed(positionOf(reply.tip)) } };
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
