import type { ReplayPage } from '../contracts/cluster.js';
import type { Frame } from '../contracts/events.js';
import { SseError } from '../errors.js';
import type { SseNode } from '../node/node.js';
import { formatCursor, isAfter, parseCursor } from '../protocol/cursor.js';
import { checkTopic, isInternal } from '../protocol/names.js';
import type { LogAnswer, LogEntryRow } from './contract.js';

const MOST_CHARACTERS = 2_000;
const MOST_TOPICS = 50;

/** What a client is asked about. */
interface LogQuery {
  readonly topics: readonly string[];
  readonly after: string | undefined;
  readonly broadcasts: boolean;
  readonly limit: number;
}

/** What a client with this last id would get. @throws SseError `INVALID_TOPIC`, `INVALID_REQUEST`, `UNAVAILABLE` */
export async function readLog({ cluster }: SseNode, query: LogQuery): Promise<LogAnswer> {
  const { topics, after, broadcasts, limit } = query;
  for (const topic of topics) if (!isInternal(topic)) checkTopic(topic);
  if (topics.length > MOST_TOPICS) {
    throw new SseError('INVALID_REQUEST', `topics must name at most ${MOST_TOPICS} topics, got ${topics.length}`);
  }
  const cursor = after === undefined ? undefined : parseCursor(after);
  const range = { topics, limit, ...(broadcasts ? {} : { broadcasts: false as const }) };
  if (cursor !== undefined) {
    const page = await cluster.log.replay({ ...range, after: cursor });
    return answer(query, page, page.gap === undefined ? 'resumes' : 'reset');
  }
  if (after !== undefined || topics.length === 0) {
    const page = await cluster.log.replay({ topics: [], limit: 1 });
    return answer(query, { ...page, frames: [] }, after === undefined ? 'newest' : 'not-an-id');
  }
  return answer(query, await cluster.log.replay({ ...range, backlog: { topics, most: limit } }), 'newest');
}

function answer({ topics, after }: LogQuery, page: ReplayPage, verdict: LogAnswer['verdict']): LogAnswer {
  const { gap, head, completeTo, frames } = page;
  return {
    at: Date.now(),
    topics,
    after: after ?? null,
    head: formatCursor(head),
    verdict,
    reset:
      gap === undefined
        ? null
        : {
            reason: gap.reason,
            topics: [...(gap.topics?.keys() ?? topics)],
            resumedFrom: formatCursor(gap.resumedFrom),
          },
    entries: frames.flatMap(rowOf),
    more: verdict !== 'newest' && verdict !== 'not-an-id' && isAfter(head, completeTo),
  };
}

/** The fields of an entry, from the event-stream text that a client gets. */
function rowOf({ bytes, position }: Frame): LogEntryRow[] {
  if (position === undefined) return [];
  let event = 'message';
  const data: string[] = [];
  for (const line of bytes.toString().split('\n')) {
    const colon = line.indexOf(': ');
    const value = line.slice(colon + 2);
    if (line.startsWith('event: ')) event = value;
    else if (line.startsWith('data: ')) data.push(value);
  }
  const text = data.join('\n');
  const id = formatCursor(position);
  return [{ id, at: position.ms, event, data: text.slice(0, MOST_CHARACTERS), bytes: bytes.length }];
}
