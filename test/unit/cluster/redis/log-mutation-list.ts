import type { Mutation } from '../../../support/mutation-run.js';

/** A rule of the log's nodes and clients, and the code without it. */
export interface LogMutation extends Mutation {
  /** File below `src`. */
  readonly file: string;
}

const inFile =
  (file: string) =>
  (rule: string, find: string, replace = ''): LogMutation => ({
    place: file.replace(/^.*\//, '').replace('.ts', ''),
    rule,
    file,
    find,
    replace,
  });

const feed = inFile('cluster/redis/feed.ts');
const catchUp = inFile('cluster/redis/feed.ts');
const reader = inFile('cluster/redis/log.ts');
const gap = inFile('protocol/gap.ts');
const cursor = inFile('connection/cursor.ts');
const opener = inFile('node/open.ts');
const replayer = inFile('node/replay.ts');
const subscriber = inFile('cluster/redis/subscriber.ts');

/** Every rule of feed and client. */
export const LOG_MUTATIONS: readonly LogMutation[] = [
  feed('an id up to F is dropped', 'if (!foreign && !isAfter(position, this.#position)) return;'),
  feed(
    'an entry is handed on only behind its predecessor',
    'followed.position !== undefined && isAfter(previous, followed.position)',
    'false',
  ),
  feed('an entry of another log starts a catch-up', 'epoch !== this.#position.epoch', 'false'),
  feed(
    'a frame that vanished and was overtaken is reported',
    'if (!foreign && missed && previous.sequence > 0',
    'if (false',
  ),
  feed('the feed pauses when the subscription closes', "this.#state = 'down';\n    this.#held"),
  feed(
    'a new subscription catches up before it goes live',
    "this.#state = 'catching-up';\n    this.#catchUp();\n  }\n\n  onDown",
    "this.#state = 'catching-up';\n    this.#goLive();\n  }\n\n  onDown",
  ),
  feed(
    'a break during a catch-up makes it one of the past',
    'if (life === this.#life) this.#goLive();',
    'this.#goLive();',
  ),
  feed(
    'frames are held during a catch-up',
    "else if (this.#state === 'catching-up') this.#hold(topic, frame);",
  ),
  feed('frames that were held are handed on', 'of this.#held.take()', 'of []'),
  feed('too many held frames make it read again', 'while (this.#held.overflowed)', 'while (false)'),
  feed('a lost last frame is looked for', 'this.#plan(CHECK_MS);'),
  feed('a failed catch-up is repeated', 'this.#plan(RETRY_MS);'),
  feed(
    'topics are subscribed only outside a catch-up',
    'this.#subscribing ??= this.#exclusively(async () => {',
    'this.#subscribing ??= (async (work: () => Promise<void>) => work())(async () => {',
  ),
  feed(
    'a topic that is not subscribed yet misses nothing',
    '&& !this.#joining.has(channel)) followed',
    ') followed',
  ),
  catchUp('the goal is the head of the first page', '(goal ?? head)', 'head'),
  catchUp(
    'nothing behind the goal is handed on',
    'if (!isAfter(entry.position, goal)) events',
    'events',
  ),
  catchUp('a page goes on where the last one ended', 'events.onPosition(from);'),
  catchUp('gaps are reported', 'if (page.gap !== undefined) events.onGap(page.gap);'),
  catchUp(
    'a gap is reported before the first entry after it',
    'if (page.gap !== undefined) events.onGap(page.gap);\n',
    'if (page.gap !== undefined) queueMicrotask(() => page.gap && events.onGap(page.gap));\n',
  ),
  catchUp('the end of a log is reported', 'if (lost !== undefined) events.', 'if (false) events.'),
  catchUp('a log that lost its end is reported', 'events.onGap(gapOfLostLog(lost, head));'),
  catchUp(
    'a log that came past the cursor is none that lost its end',
    'if (!isAfter(from, head)) continue;',
  ),
  catchUp(
    'it ends when the log lost its end',
    ' || !isAfter(head, completeTo)) return',
    ') return',
  ),
  reader('entries of all topics are in one order', 'all.sort(', 'all.slice().sort('),
  reader(
    'several calls are complete up to the first end',
    'completeTo = earlier(completeTo, wellFormed(positionOf(reply.completeTo)));',
    'completeTo = wellFormed(positionOf(reply.completeTo));',
  ),
  reader(
    'the stream goes on before the first entry',
    'return cursorBefore(first.position)',
    'return first.position',
  ),
  reader('another log may have gaps already', 'lost };\n  }', 'lost, gap: undefined };\n  }'),
  reader('bounds are no entries', 'if (until.sequence === 0) missing.delete(topic);'),
  gap(
    'several gaps end with the last of them',
    'until === undefined || isAfter(last, until)',
    'until === undefined',
  ),
  cursor(
    'a client drops ids up to its cursor',
    'if (!isAfter(position, this.#position)) return false;',
  ),
  cursor('a client drops entries of another log', ' || position.epoch !== this.#epoch'),
  cursor(
    'a client without a place gets nothing of the log',
    'if (this.#position === undefined || position',
    'if (this.#position === undefined) return true;\n    if (position',
  ),
  cursor(
    'a client in a former log gets no reset for a gap of the next one',
    'this.#epoch !== resumedFrom.epoch || ',
  ),
  cursor('a client after a gap gets no reset', ' || !isAfter(until, here)) return', ') return'),
  cursor(
    'a client after the gap of a topic gets no reset for it',
    ' && isAfter(until, here))',
    ')',
  ),
  cursor(
    'a client in the new log gets no reset for the end of the former one',
    "this.#epoch === resumedFrom.epoch ? 'none' : 'move'",
    "'move'",
  ),
  cursor(
    'a client before the end that was lost gets no reset',
    "isAfter(here, resumedFrom) ? 'move' : 'none'",
    "'move'",
  ),
  cursor(
    'a reset names topics of its client only',
    'topic === EVERYONE || topics.has(topic)',
    'true',
  ),
  cursor('a reset moves the cursor', "if (effect === 'move') this.start(gap.resumedFrom);"),
  opener(
    'the head is read after the subscriptions are acknowledged',
    'await this.subscriptions.begin(connection, all);',
    'this.subscriptions.begin(connection, all).catch(() => undefined);',
  ),
  replayer(
    'a replay ends at the head of its first page',
    'connection.goLive(goal)',
    'connection.goLive(page.head)',
  ),
  replayer(
    'what came since the first page waits for its turn',
    'if (frame.position !== undefined && isAfter(frame.position, goal)) break;',
  ),
  replayer(
    'the first event carries the start',
    'this.node.options, start)',
    'this.node.options, undefined)',
  ),
  replayer(
    'a gap is reported before its page',
    'if (page.gap !== undefined) await this.#reset(connection, page.gap);',
  ),
  replayer(
    'another log is replayed to its own end',
    'if (page.head.epoch !== epoch) goal = page.head;',
  ),
  subscriber('the end of a subscription is told', 'if (wasUp) this.events.onDown?.();'),
  subscriber('every topic is subscribed again', ', ...this.#channels]', ']'),
];
