import type { CodePlace } from '../../../support/mutate.js';
import type { Mutation } from '../../../support/mutation-run.js';

/** A rule of the log's nodes and clients, of limits or of grants, and the code without it. */
export interface LogMutation extends Mutation, CodePlace {
  /** File below `src`. */
  readonly file: string;
}

const inFile =
  (file: string) =>
  (within: string) =>
  (rule: string, find: string, replace = ''): LogMutation => {
    const place = file.replace(/^.*\//, '').replace('.ts', '');
    return { place, rule, file, within, find, replace };
  };

const feed = inFile('cluster/redis/feed.ts');
const reader = inFile('cluster/redis/log-reader.ts');
const scan = inFile('cluster/redis/log-scan.ts');
const tail = inFile('cluster/redis/tail.ts');
const recentPages = inFile('cluster/redis/recent-pages.ts');
const subscriber = inFile('cluster/redis/subscriber.ts');
const gap = inFile('protocol/event-stream.ts');
const cursor = inFile('connection/cursor.ts');
const open = inFile('node/open.ts');
const replay = inFile('node/replay.ts');
const pages = inFile('connection/pages.ts');
const limits = inFile('node/limits.ts');
const authorization = inFile('node/authorization.ts');

const accept = feed('LogFeed.#accept');
const catchUpOfFeed = feed('LogFeed.#catchUp');
const readOn = feed('LogFeed.#readOn');
const deliverStep = feed('LogFeed.#deliverStep');
const goLive = feed('LogFeed.#goLive');
const catchUp = scan('catchUp');
const gapsOf = scan('gapsOf');
const admits = cursor('ClientCursor.admits');
const effectOf = cursor('ClientCursor.#effectOf');
const bring = replay('Replayer.#bring');

/** Every rule of feed and client, then those of limits and grants. */
export const LOG_MUTATIONS: readonly LogMutation[] = [
  accept('an id up to the position is dropped', 'if (!foreign && !isAfter(position, reached)) return;'),
  accept(
    'an entry is delivered only behind its predecessor',
    'followed.position !== undefined && isAfter(previous, followed.position)',
    'false',
  ),
  accept('a frame before the acknowledgement is of a former subscription', 'if (!followed.acknowledged) return;'),
  accept('an entry of another log starts a catch-up', 'epoch !== reached.epoch', 'false'),
  accept(
    'a frame that vanished and was overtaken is reported',
    '!foreign && missed && previous.sequence > 0 && !isAfter(previous, reached)',
    'false',
  ),
  feed('LogFeed.onDown')('the feed pauses when the subscription closes', "this.#leave('down');"),
  feed('LogFeed.onUp')(
    'a new subscription catches up before it goes live',
    'this.#catchUp();',
    "this.#leave('catching-up'); this.#goLive();",
  ),
  catchUpOfFeed('a break during a catch-up makes it one of the past', 'life === this.#life', 'true'),
  feed('LogFeed.onFrame')(
    'frames are held during a catch-up',
    'this.#held.add({ topic, frame }, frame.body.length);',
    ';',
  ),
  goLive('frames that were held are delivered', 'this.#held.drain()', '[]'),
  catchUpOfFeed('too many held frames make it read again', 'this.#held.overflowed', 'false'),
  goLive('a lost last frame is looked for', 'this.#catchUpAfter(Math.min(LOOK_MS, this.reader.longestPauseMs));'),
  catchUpOfFeed('a failed catch-up is repeated', 'this.#catchUpAfter(RETRY_MS);'),
  feed('LogFeed.#subscribe')(
    'topics are subscribed only outside a catch-up',
    'this.#exclusively',
    '(async (work: () => Promise<void>) => work())',
  ),
  readOn('a topic that is not subscribed yet misses nothing', '!followed.acknowledged', 'false'),
  deliverStep('a page goes on where the last one ended', 'this.tail.moveTo(position);'),
  deliverStep(
    'a gap is reported where it begins',
    'for (const gap of gaps) this.#reportGap(gap);',
    'queueMicrotask(() => { for (const gap of gaps) this.#reportGap(gap); });',
  ),
  catchUp('a log that lost its end is reported', '[gapOfLostLog(lost, head)]', '[]'),
  catchUp('a log that is lost on the way is read again', 'if (!scan.broken) return;', 'return;'),
  gapsOf('gaps are reported', '[gap, lost]', '[lost]'),
  gapsOf('the end of a log is reported', '[gap, lost]', '[gap]'),
  scan('LogScan.#resumedFrom')(
    'the stream goes on before the first entry',
    'cursorBefore(first.position)',
    'first.position',
  ),
  scan('LogScan.#add')('an entry of another version is a gap', 'this.#miss(topic, to);'),
  scan('LogScan.#add')('bounds are no entries', 'this.lost === undefined || missing.sequence > 0', 'true'),
  scan('LogScan.next')(
    'several topics are complete up to the first end',
    'if (!topic.done) end = earlier(end, topic.to);',
    ';',
  ),
  recentPages('firstOf')(
    'entries of all topics are in one order',
    'found.sort((a, b) => (isAfter(a.position, b.position) ? 1 : -1));',
  ),
  recentPages('beginsWith')(
    'readers get one page that have the same entries before them',
    'entries[first] === firsts[at]',
    'true',
  ),
  recentPages('endsAlike')('a full page ends before what its reader may have', '!isAfter(completeTo, end)', 'true'),
  recentPages('endsAlike')(
    'a page ends with what its reader may have',
    '!isAfter(madeTo, end) && !isAfter(end, madeTo)',
    'true',
  ),
  tail('inOrderOfAge')('entries of a run become too old in their order', 'kept.expiresAt = earliest;'),
  tail('LogTail.lose')('the tail knows nothing before a gap', 'this.#cut(tail, until)'),
  tail('LogTail.lose')('the tail belongs to one log', 'this.clear();'),
  tail('LogTail.belongTo')('the tail belongs to one run of Redis', 'if (this.#run !== undefined) this.clear();'),
  tail('LogTail.begin')('the tail begins no earlier than the feed', 'later(head, this.#position)', 'head'),
  tail('LogTail.#end')('the tail serves only while the feed is live', '!this.live', 'false'),
  tail('LogTail.page')('a cursor after the tail goes to Redis', 'isAfter(after, head)', 'false'),
  reader('LogReader.replay')(
    'a shared page ends no earlier than the feed',
    'isAfter(position, page.head) ? { ...page, head: position } : page',
    'page',
  ),
  reader('LogReader.replay')(
    'a page for a reader of a newer head comes from Redis',
    'until === undefined || !isAfter(until, present.head)',
    'true',
  ),
  subscriber('RedisSubscriber.#lose')('the end of a subscription is reported', 'if (wasUp) this.events.onDown?.();'),
  subscriber('RedisSubscriber.#restore')(
    'every topic is subscribed again',
    '[this.options.probeChannel, ...this.#channels]',
    '[this.options.probeChannel]',
  ),
  gap('gapOf')(
    'several gaps end with the last of them',
    'until === undefined || isAfter(last, until)',
    'until === undefined',
  ),
  admits('a client drops ids up to its cursor', 'if (!isAfter(position, this.#position)) return false;'),
  admits(
    'a client drops entries of another log',
    'this.#position === undefined || position.epoch !== this.#epoch',
    'this.#position === undefined',
  ),
  admits(
    'a client without a position gets nothing of the log',
    'if (this.#position === undefined || position.epoch !== this.#epoch) return false;',
    'if (this.#position === undefined) return true; if (position.epoch !== this.#epoch) return false;',
  ),
  effectOf(
    'a client in a former log gets no reset for a gap of the next one',
    'this.#epoch !== resumedFrom.epoch || !isAfter(until, here)',
    '!isAfter(until, here)',
  ),
  effectOf(
    'a client after a gap gets no reset',
    'this.#epoch !== resumedFrom.epoch || !isAfter(until, here)',
    'this.#epoch !== resumedFrom.epoch',
  ),
  effectOf(
    'a client in the new log gets no reset for the end of the former one',
    "this.#epoch === resumedFrom.epoch ? 'none' : 'move'",
    "'move'",
  ),
  effectOf(
    'a client before the end that was lost gets no reset',
    "isAfter(here, resumedFrom) ? 'move' : 'none'",
    "'move'",
  ),
  cursor('ClientCursor.#missedOf')(
    'a client after the gap of a topic gets no reset for it',
    'isAfter(until, here)',
    'true',
  ),
  cursor('ClientCursor.#missedOf')(
    'a reset names topics of its client only',
    'topic === EVERYONE || topics.has(topic)',
    'true',
  ),
  cursor('ClientCursor.moveTo')(
    'a client gets a position once',
    'if (this.#shown !== undefined && !isAfter(position, this.#shown)) return false;',
  ),
  cursor('ClientCursor.moveTo')(
    'a client without a position gets none',
    'if (this.#position === undefined || position.epoch !== this.#epoch) return false;',
  ),
  cursor('ClientCursor.admits')('an entry is a position that the client has', 'this.#shown = position;'),
  cursor('ClientCursor.shown')('a replayed id is a position that the client has', 'this.#shown = at'),
  cursor('ClientCursor.resetFor')('a reset moves the cursor', "if (effect === 'move') this.start(gap.resumedFrom);"),
  open('ConnectionOpener.#enter')(
    'the head is read after the subscriptions are acknowledged',
    'await this.subscriptions.begin(connection, wanted);',
    'this.subscriptions.begin(connection, wanted).catch(() => undefined);',
  ),
  bring(
    'a replay ends at the head of its first page',
    'isAfter(goal, page.completeTo) ? { epoch, ...page.completeTo } : goal',
    'isAfter(goal, page.completeTo) ? { epoch, ...page.completeTo } : page.head',
  ),
  bring(
    'a replay by a node behind the log ends with its last page',
    'isAfter(goal, page.completeTo) ? { epoch, ...page.completeTo } : goal',
    'goal',
  ),
  bring('another log is replayed to its own end', 'if (page.head.epoch !== epoch) goal = page.head;'),
  replay('Replayer.finish')(
    'the first event carries the start',
    'connectedFrame(connection, this.node, position)',
    'connectedFrame(connection, this.node, undefined)',
  ),
  replay('Replayer.#mail')(
    'a mailbox is read to the head',
    '{ topics, after, until, limit: PAGE_ENTRIES, broadcasts: false as const }',
    '{ topics, after, limit: PAGE_ENTRIES, broadcasts: false as const }',
  ),
  replay('Replayer.#writeFrames')(
    'an entry published since the first page waits for its turn',
    'frames.slice(-1).every(isDue) ? frames : frames.filter(isDue)',
    'frames',
  ),
  replay('Replayer.#writeFrames')(
    'a page waits for its client piece by piece',
    'if (piece instanceof Piece) await connection.written();',
  ),
  pages('isSame')('a page has the frames of the page whose bytes it shares', 'frame !== frames[at]', 'false'),
  pages('isSame')('a page has no more frames than that page', 'at === frames.length', 'true'),
  pages('cut')('a piece has a bound', 'batch.bytes > 0 && batch.bytes + frame.bytes.length > PIECE_BYTES', 'false'),
  replay('Replayer.#writePage')(
    'a gap is reported before its page',
    'if (page.gap !== undefined) await this.#reset(connection, page.gap);',
  ),
  limits('ConnectionLimits.arrive')(
    'replays are limited',
    'maxReplayBytesPerMinute !== false && resumes && this.#replayed.of(name) >= maxReplayBytesPerMinute',
    'false',
  ),
  limits('ConnectionLimits.arrive')(
    'a client that has replayed too much may begin anew',
    'maxReplayBytesPerMinute !== false && resumes',
    'maxReplayBytesPerMinute !== false',
  ),
  limits('ConnectionLimits.arrive')('connects count', 'this.#connects.add(name, 1);'),
  limits('ConnectionLimits.assertRoom')('a takeover needs no room', '!freed.some(each => each.name === name)', 'true'),
  limits('ConnectionLimits.assertRoom')('a takeover makes room for the same name alone', 'each.name === name', 'true'),
  limits('ConnectionLimits.leave')('a connection that left makes room', 'this.#counts.remove(bounds);'),
  limits('ConnectionLimits.replayed')(
    'replayed bytes count',
    'if (name !== undefined) this.#replayed.add(name, bytes);',
  ),
  limits('networkOf')(
    'the first 64 bits are one network',
    '[...before, ...zeros, ...after].slice(0, 4)',
    '[...before, ...zeros, ...after]',
  ),
  authorization('Authorization.begin')('credentials that have run out open nothing', 'left <= 0', 'false'),
  authorization('Authorization.grantsOf')(
    'a grant that has not begun grants nothing',
    'since.getTime() <= Date.now()',
    'true',
  ),
  authorization('Authorization.#look')('a stream ends with its credentials', 'stay.until <= now', 'false'),
  authorization('Authorization.#ask')(
    'a client that may not stay is sent away',
    '(await this.#inTime(answer)) === false',
    'false',
  ),
  authorization('positionOf')('a grant begins with its time', 'since.getTime() - 1', 'since.getTime()'),
];
