import type { Cursor } from '../../../contracts/events.js';
import type { TopicKeys } from '../keys.js';
import { defineScript, type ReplyReader } from './definition.js';
import type { LogRequest } from './publish-script.js';

export interface HistoryRequest extends LogRequest {
  /** At least one, at most 32. */
  readonly topics: readonly TopicKeys[];
  /** Where the reader stands; `undefined` asks for the head only. */
  readonly after: Cursor | undefined;
  /** Most entries, about; at most 500. */
  readonly limit: number;
}

/** An entry of the log. Ids are `<ms>-<sequence>`, decimal. */
export interface HistoryEntry {
  /** Position in the request's `topics`. */
  readonly topic: number;
  readonly id: string;
  /** Id of the topic's entry before it, or a bound. */
  readonly previous: string;
  readonly payload: Buffer;
}

/** A topic of which entries are missing. */
export interface HistoryGap {
  /** Position in the request's `topics`. */
  readonly topic: number;
  /** Nothing after this id is missing. */
  readonly until: string;
}

/**
 * `EPOCH`: the cursor is of another log; `AHEAD`: it is newer than the log. `LIMIT`: more than 32 topics. When `completeTo` is
 * before `head` there is more: the page is complete up to and including `completeTo`.
 */
export type HistoryReply =
  | {
      readonly status: 'OK';
      readonly epoch: string;
      readonly head: string;
      readonly completeTo: string;
      /** Topics with entries missing after the cursor. */
      readonly gaps: readonly HistoryGap[];
      /** Topic by topic, each in the order of ids. */
      readonly entries: readonly HistoryEntry[];
    }
  | { readonly status: 'EPOCH' | 'AHEAD'; readonly epoch: string; readonly head: string }
  | { readonly status: 'LIMIT' };

/** Reads the ordered log after a cursor. Creates or keeps alive the log's epoch, nothing else; repeating it is harmless. */
export const historyScript = defineScript({
  name: 'history',
  keys: ['meta'],
  restKeys: ['stream', 'last'],
  args: ['epoch', 'ms', 'sequence', 'limit', 'metaMs', 'newEpoch', 'runId', 'failoverJumpMs'],
  statuses: ['OK', 'EPOCH', 'AHEAD', 'LIMIT'],
  binary: true,
  usesRunId: true,
  keyValues: ({ meta }: HistoryRequest) => ({ meta }),
  restKeyValues: ({ topics }) => topics.flatMap(({ stream, last }) => [stream, last]),
  argValues: ({ after, ...request }, runId) => ({
    ...request,
    epoch: after?.epoch ?? '',
    ms: after?.ms ?? 0,
    sequence: after?.sequence ?? 0,
    runId,
  }),
  read: (status, reply): HistoryReply => {
    if (status === 'LIMIT') return { status };
    const head = { epoch: reply.text(1), head: reply.text(2) };
    if (status !== 'OK') return { status, ...head };
    const gaps = reply.list(4);
    return {
      status,
      ...head,
      completeTo: reply.text(3),
      gaps: gaps.groups(0, 2, at => ({ topic: gaps.integer(at) - 1, until: gaps.text(at + 1) })),
      entries: entriesOf(reply.list(5)),
    };
  },
});

function entriesOf(list: ReplyReader): HistoryEntry[] {
  return list.groups(0, 4, at => ({
    topic: list.integer(at) - 1,
    id: list.text(at + 1),
    previous: list.text(at + 2),
    payload: list.bytes(at + 3),
  }));
}
