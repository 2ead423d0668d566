import type { Cursor, Frame, Gap, Position } from '../../contracts/events.js';
import { cursorBefore, formatCursor, isAfter } from '../../protocol/cursor.js';
import { prependId } from '../../protocol/event-stream.js';
import { gapOf, gapOfLostLog } from '../../protocol/gap.js';
import { addressed, EVERYONE } from '../../protocol/names.js';
import type { ClusterNode } from './cluster-node.js';
import { decodePublication, type PublicationFrame } from './frames.js';
import { type LogEntry, type LogReader, resumedFrom } from './log.js';
import type { RedisSubscriber } from './subscriber.js';

const RETRY_MS = 500;
const LOGGED_TOPICS = 20;
/** Milliseconds after which a lost last frame, which no later one reveals, is found. */
const CHECK_MS = 30_000;

interface Followed {
  listeners: number;
  /** Calls of `listen` under way: whoever made them follows it, and does not know yet. */
  joining: number;
  /** Newest entry that was handed on, once there was one since the subscription. */
  position: Position | undefined;
  /** Settles when Redis has acknowledged the subscription, or not. */
  subscribed: Promise<void>;
}

type Kept = PublicationFrame & Required<Pick<PublicationFrame, 'place'>>;

/**
 * The node's view of the ordered log: hands on every entry of the topics it follows, in order, once. Each entry names its
 * predecessor, so a missing one shows; then, and after each break of the subscription, what comes is held while the log is
 * read from the last entry that was handed on.
 */
export class LogFeed {
  readonly #topics = new Map<string, Followed>();
  readonly #byChannel = new Map<string, string>();
  readonly #held = new HeldFrames<{ readonly topic: string; readonly frame: Kept }>();
  /** The last entry that was handed on, or was there before the feed began. */
  #position: Cursor | undefined;
  #state: 'down' | 'catching-up' | 'live' = 'down';
  /** Subscribing and catching up exclude each other: a topic that joins in the middle of a catch-up would be overtaken. */
  #work: Promise<unknown> = Promise.resolve();
  readonly #joining = new Set<string>();
  #subscribing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Number of the subscription. */
  #life = 0;
  #closed = false;
  #dropped = 0;

  constructor(
    private readonly node: ClusterNode,
    private readonly subscriber: RedisSubscriber,
    private readonly reader: LogReader,
  ) {
    this.#follow(EVERYONE).listeners += 1;
  }

  /** Whether it has a place in the log. */
  get begun(): boolean {
    return this.#position !== undefined;
  }

  /** Everything up to here was handed on; `undefined` while something may be missing. */
  get position(): Cursor | undefined {
    return this.#state === 'live' ? this.#position : undefined;
  }

  /** The topics it follows, without those that somebody joins just now. */
  get topics(): string[] {
    return [...this.#topics].flatMap(([topic, { joining }]) => (joining === 0 ? [topic] : []));
  }

  /** Whether frames wait although nothing is read. */
  get holdsForNothing(): boolean {
    return this.#state !== 'catching-up' && this.#held.size > 0;
  }

  /** Frames on channels of the log that were none. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Subscribes; what is published after it resolved is handed on. @throws SseError `UNAVAILABLE`, then nothing is counted */
  async listen(topics: Iterable<string>): Promise<void> {
    const wanted = [...topics];
    const followed = wanted.map(topic => this.#follow(topic));
    for (const each of followed) each.listeners += 1;
    for (const each of followed) each.joining += 1;
    try {
      for (const { subscribed } of followed) await subscribed;
    } catch (error) {
      this.unlisten(wanted);
      throw error;
    } finally {
      for (const each of followed) each.joining -= 1;
    }
  }

  unlisten(topics: Iterable<string>): void {
    for (const topic of topics) {
      const followed = this.#topics.get(topic);
      if (followed === undefined) continue;
      followed.listeners -= 1;
      if (followed.listeners > 0) continue;
      const channel = this.node.gateway.keys.topicChannel(topic);
      this.#topics.delete(topic);
      this.#byChannel.delete(channel);
      this.subscriber.unsubscribe(channel);
    }
  }

  /** Lets go of the frames that wait. */
  letGo(): void {
    this.#held.clear();
  }

  onUp(): void {
    this.#life += 1;
    this.#state = 'catching-up';
    this.#catchUp();
  }

  onDown(): void {
    this.#state = 'down';
    this.#held.clear();
  }

  onFrame(channel: string, bytes: Buffer): void {
    const topic = this.#byChannel.get(channel);
    if (topic === undefined) return;
    const frame = decodePublication(bytes);
    if (frame === undefined) this.#drop();
    else if (!isKept(frame)) this.#tell(topic, { bytes: frame.body }, frame.trace);
    else if (this.#state === 'live') this.#accept(topic, frame);
    else if (this.#state === 'catching-up') this.#hold(topic, frame);
  }

  close(): void {
    this.#closed = true;
    this.#state = 'down';
    clearTimeout(this.#timer);
    this.#held.clear();
  }

  #follow(topic: string): Followed {
    const present = this.#topics.get(topic);
    if (present !== undefined) return present;
    const channel = this.node.gateway.keys.topicChannel(topic);
    const subscribed = this.#subscribe();
    subscribed.catch(() => undefined);
    const followed: Followed = { listeners: 0, joining: 0, position: undefined, subscribed };
    this.#topics.set(topic, followed);
    this.#byChannel.set(channel, topic);
    this.#joining.add(channel);
    return followed;
  }

  /** One call for all topics that join while another call, or a catch-up, is under way. */
  #subscribe(): Promise<void> {
    this.#subscribing ??= this.#exclusively(async () => {
      // Nobody may want some of them any more.
      const channels = [...this.#joining].filter(channel => this.#byChannel.has(channel));
      this.#joining.clear();
      this.#subscribing = undefined;
      if (channels.length > 0) await this.subscriber.subscribe(...channels);
    });
    return this.#subscribing;
  }

  #accept(topic: string, frame: Kept): void {
    const { epoch, position, previous } = frame.place;
    const followed = this.#topics.get(topic);
    if (followed === undefined || this.#position === undefined) return;
    const foreign = epoch !== this.#position.epoch;
    if (!foreign && !isAfter(position, this.#position)) return;
    const missed = followed.position !== undefined && isAfter(previous, followed.position);
    // A frame vanished although the subscription lived, and others went past it: it comes too late, but not in silence.
    if (!foreign && missed && previous.sequence > 0 && !isAfter(previous, this.#position)) {
      const gap = gapOf(new Map([[topic, position]]), cursorBefore({ epoch, ...position }));
      if (gap !== undefined) this.#reportGap(gap);
    }
    if (foreign || missed) {
      // It is in the log, or in one that is gone, so the frame itself need not wait.
      this.#state = 'catching-up';
      this.#catchUp();
      return;
    }
    followed.position = position;
    this.#position = { epoch, ...position };
    const bytes = prependId(formatCursor(this.#position), frame.body);
    this.#tell(topic, { bytes, position: this.#position }, frame.trace);
  }

  #hold(topic: string, frame: Kept): void {
    this.#held.add({ topic, frame }, frame.body.length);
  }

  #catchUp(): void {
    clearTimeout(this.#timer);
    void this.#exclusively(async () => {
      if (this.#state !== 'catching-up') return;
      const life = this.#life;
      try {
        do {
          this.#held.forgive();
          await this.#readOn();
        } while (this.#held.overflowed);
      } catch (error) {
        this.node.logger.debug('the log could not be read; trying again', { error });
        this.#plan(RETRY_MS);
        return;
      }
      // Else the subscription broke meanwhile, and what was missed since is for the next catch-up, which waits already.
      if (life === this.#life) this.#goLive();
    });
  }

  async #readOn(): Promise<void> {
    const from = this.#position ?? (await this.reader.head());
    const end = await catchUp(this.reader, () => [...this.#topics.keys()], from, {
      onEntry: ({ topic, position, bytes }) => this.#tell(topic, { bytes, position }, undefined),
      onGap: gap => this.#reportGap(gap),
      // Page by page, so that a failure later does not hand these on again.
      onPosition: position => {
        this.#position = position;
      },
    });
    for (const [channel, topic] of this.#byChannel) {
      const followed = this.#topics.get(topic);
      // What a topic gets before it is subscribed is not missed, since nobody here follows it yet.
      if (followed !== undefined && !this.#joining.has(channel)) followed.position = end;
    }
  }

  #goLive(): void {
    if (this.#state !== 'catching-up') return;
    this.#state = 'live';
    this.#plan(CHECK_MS);
    for (const { topic, frame } of this.#held.take()) {
      // One of them may show another gap: then the log is read once more, and with it the others.
      if (!this.#isLive()) return;
      this.#accept(topic, frame);
    }
  }

  #isLive(): boolean {
    return this.#state === 'live';
  }

  #plan(ms: number): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      if (this.#state === 'down') return;
      this.#state = 'catching-up';
      this.#catchUp();
    }, ms).unref();
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work, work);
    this.#work = done;
    return done;
  }

  #tell(topic: string, frame: Frame, trace: string | undefined): void {
    this.node.listener.onPublication(addressed(topic), frame, trace);
  }

  #reportGap(gap: Gap): void {
    const topics = gap.topics && [...gap.topics.keys()].slice(0, LOGGED_TOPICS);
    const { reason } = gap;
    this.node.logger.info('the log has a gap; clients that miss entries get sse.reset', {
      reason,
      topics,
    });
    this.node.listener.onGap(gap);
  }

  #drop(): void {
    this.#dropped += 1;
    if (this.#dropped > 1) return;
    this.node.logger.warn('a message on a channel of the log was none of its own and dropped');
  }
}

function isKept(frame: PublicationFrame): frame is Kept {
  return frame.place !== undefined;
}

const PAGE_ENTRIES = 500;

/** Whom a catch-up tells, in the order of the log. */
interface CatchUpEvents {
  onEntry(entry: LogEntry): void;
  onGap(gap: Gap): void;
  /** Everything up to here was handed on: after a failure, go on from here. */
  onPosition(position: Cursor): void;
}

/**
 * Hands on what was published after a place up to the head of the first page, whatever comes meanwhile, and each gap where
 * it begins. Resolves to where it ended. @throws SseError
 */
export async function catchUp(
  reader: LogReader,
  topics: () => readonly string[],
  place: Cursor,
  events: CatchUpEvents,
): Promise<Cursor> {
  let from = place;
  let goal: Cursor | undefined;
  for (;;) {
    const page = await reader.read(topics(), from, PAGE_ENTRIES);
    const { head, lost, completeTo, entries } = page;
    if (lost === 'AHEAD') {
      // It may have come past it meanwhile.
      if (!isAfter(from, head)) continue;
      // What is left was handed on before.
      events.onGap(gapOfLostLog(lost, head));
      events.onPosition(head);
      return head;
    }
    goal = lost === undefined ? (goal ?? head) : head;
    // In another log this gap concerns only clients that are in it already. All others get the reset of the former log's end.
    if (page.gap !== undefined) events.onGap(page.gap);
    if (lost !== undefined) events.onGap(gapOfLostLog(lost, resumedFrom(page)));
    for (const entry of entries) if (!isAfter(entry.position, goal)) events.onEntry(entry);
    from = isAfter(completeTo, goal)
      ? goal
      : { epoch: head.epoch, ms: completeTo.ms, sequence: completeTo.sequence };
    events.onPosition(from);
    // Also when it never reaches the goal, because the log lost its end meanwhile.
    if (!isAfter(goal, completeTo) || !isAfter(head, completeTo)) return from;
  }
}

const MAX_FRAMES = 10_000;
const MAX_BYTES = 64 * 1024 * 1024;

/** What waits while the log is read. Bounded: when it is too much everything is let go, and the log read once more. */
class HeldFrames<T> {
  #frames: T[] = [];
  #bytes = 0;
  #overflowed = false;

  /** Frames that wait. */
  get size(): number {
    return this.#frames.length;
  }

  /** Whether something was let go since {@link forgive}. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  add(frame: T, bytes: number): void {
    if (this.#frames.length >= MAX_FRAMES || this.#bytes + bytes > MAX_BYTES) {
      this.clear();
      this.#overflowed = true;
    }
    if (this.#overflowed) return;
    this.#frames.push(frame);
    this.#bytes += bytes;
  }

  /** Everything that waits, which does not wait here any more. */
  take(): readonly T[] {
    const frames = this.#frames;
    this.clear();
    return frames;
  }

  clear(): void {
    this.#frames = [];
    this.#bytes = 0;
  }

  /** The log is read from here on, so what was let go does not matter any more. */
  forgive(): void {
    this.#overflowed = false;
  }
}
