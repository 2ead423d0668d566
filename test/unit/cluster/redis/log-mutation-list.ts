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
    'a frame that vanished and was overtaken is told of',
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
  catchUp('gaps are told', 'if (gap !== undefined) events.onHole(gap);'),
  catchUp(
    'a gap is told where it begins',
    'if (gap !== undefined) events.onHole(gap);\n',
    'if (gap !== undefined) queueMicrotask(() => events.onHole(gap));\n',
  ),
  catchUp('the end of a log is told', 'if (lost !== undefined) {', 'if (false) {'),
  catchUp(
    'a log that lost its end is told',
    'events.onHole({ reason: lost, topics: undefined, resumedFrom: head, until: head });',
  ),
  catchUp(
    'a log that came past the cursor is none that lost its end',
    'if (!isAfter(from, head)) continue;',
  ),
  catchUp('it ends when the log lost its end', ' || !isAfter(head, upto)) return', ') return'),
  catchUp('the stream goes on before the first entry', 'sequence: sequence - 1 }', 'sequence }'),
  reader('entries of all topics are in one order', 'all.sort(', 'all.slice().sort('),
  reader(
    'several calls are complete up to the first end',
    'upto = earlier(upto, wellFormed(positionOf(reply.upto)));',
    'upto = wellFormed(positionOf(reply.upto));',
  ),
  reader('another log may have gaps already', 'lost };\n  }', 'lost, gaps: [] };\n  }'),
  reader('bounds are no entries', '.filter(({ until }) => until.sequence > 0)'),
  gap(
    'several gaps end with the last of them',
    'isAfter(part.until, last) ? part.until : last',
    'last',
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
    'a gap of another log is not told before the end of the former',
    'if (this.#epoch !== resumedFrom.epoch) return',
    'if (false) return',
  ),
  cursor('who is past a gap is not told', "if (!isAfter(until, here)) return 'nothing';"),
  cursor(
    'who is in the new log is not told of the end of the old',
    "if (this.#epoch === resumedFrom.epoch) return 'nothing';",
  ),
  cursor(
    'who had nothing that was lost is not told',
    "if (!isAfter(here, resumedFrom)) return 'nothing';",
  ),
  cursor('a client is told of its own topics', 'topic === EVERYONE || topics.has(topic)', 'true'),
  cursor('being told moves a client', 'this.start(resumedFrom);'),
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
    'a gap is told before its page',
    'if (page.reset !== undefined) await this.#tell(connection, holeOf(page, page.reset));',
  ),
  replayer(
    'another log is replayed to its own end',
    'if (page.head.epoch !== epoch) goal = page.head;',
  ),
  subscriber('the end of a subscription is told', 'if (wasUp) this.events.onDown?.();'),
  subscriber('every topic is subscribed again', ', ...this.#channels]', ']'),
];
