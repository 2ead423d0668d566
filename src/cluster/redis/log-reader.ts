import type {
  ReplayPage,
  ReplayRequest,
  ResetReason,
} from '../../contracts/cluster-coordinator.js';
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

/** A part of the log, in order. */
export interface LogPage {
  /** The newest entry when it was read. */
  readonly tip: Cursor;
  /** Complete up to here. */
  readonly upto: Position;
  readonly entries: readonly LogEntry[];
  /** Why there is a hole before the first entry, and of which topics. */
  readonly reset: { readonly reason: ResetReason; readonly topics: readonly string[] } | undefined;
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
  async replay({ topics, after, limit }: ReplayRequest): Promise<ReplayPage> {
    if (after === undefined) {
      const tip = await this.tip();
      return { tip, upto: tip, frames: [] };
    }
    const { tip, upto, entries, reset } = await this.read([EVERYONE, ...topics], after, limit);
    const frames = entries.map(({ bytes, position }) => ({ bytes, position }));
    if (reset === undefined) return { tip, upto, frames };
    // The hole of a lost log is one of everything; the client is told the topics it follows.
    const told = reset.reason === 'GAP' ? reset.topics : topics;
    return { tip, upto, frames, reset: { reason: reset.reason, topics: told } };
  }

  /** The entries of these topics after a cursor, at most `limit`. @throws SseError */
  async read(topics: readonly string[], after: Cursor, limit: number): Promise<LogPage> {
    const wanted = [...new Set(topics)];
    const replies = await this.#ask(wanted, after, limit);
    const lost = replies.find(({ status }) => status !== 'OK');
    if (lost === undefined) {
      const gaps = replies.flatMap((reply, call) =>
        reply.status === 'OK' ? reply.gaps.map(at => topicOf(wanted, call, at)) : [],
      );
      const reset = gaps.length > 0 ? { reason: 'GAP' as const, topics: gaps } : undefined;
      return { ...merge(wanted, replies, limit), reset };
    }
    const reason = lost.status === 'EPOCH' ? 'EPOCH' : 'AHEAD';
    const { epoch } = headOf(lost).tip;
    const everything = await this.#ask(wanted, { epoch, ...ORIGIN }, limit);
    return { ...merge(wanted, everything, limit), reset: { reason, topics: wanted } };
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
): Omit<LogPage, 'reset'> {
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
