import type { Cursor, Frame, Gap, Position } from '../../contracts/events.js';
import { formatCursor, isAfter } from '../../protocol/cursor.js';
import { prependId } from '../../protocol/event-stream.js';
import { addressed, EVERYONE } from '../../protocol/names.js';
import type { ClusterNode } from './cluster-node.js';
import { parsePublication, type PublicationFrame, SAME_NODES } from './frames.js';
import type { LogReader } from './log-reader.js';
import { catchUp, type CatchUpStep, HeldFrames } from './log-scan.js';
import type { RedisSubscriber } from './subscriber.js';
import type { LogEntry, LogTail } from './tail.js';

const RETRY_MS = 500;
const LOGGED_TOPICS = 20;
/** Milliseconds after which a lost last frame is found, which no later frame reveals. */
const LOOK_MS = 30_000;
/** Milliseconds between two reads of the log because of frames that are no data. */
const DOUBT_MS = 5_000;
/** Milliseconds that a catch-up may take before the node counts as behind. */
const BEHIND_MS = 3_000;

interface Followed {
  /** Calls of `subscribe` without one of `unsubscribe`. */
  subscriptions: number;
  /** Calls of `subscribe` under way: their callers follow the topic, and do not know yet. */
  joining: number;
  /** Newest entry that was delivered, once there was one since the subscription. */
  position: Position | undefined;
  /** Settles with Redis' acknowledgement of the subscription. */
  subscribed: Promise<void>;
  /** Whether `subscribed` has settled. Frames that arrive before may be of a former subscription to the topic. */
  acknowledged: boolean;
  /** Redis' time from which on every frame arrived or was read; 0 where publications are not signed. */
  since: number;
}

type Kept = Extract<PublicationFrame, { kind: 'kept' }>;

/**
 * The node's view of the ordered log: delivers every entry of the topics it follows, in order, once. Each entry names its
 * predecessor, so a missing one shows. Then, and after each break of the subscription, arriving frames are held while the
 * log is read from the last delivered entry.
 */
export class LogFeed {
  readonly #topics = new Map<string, Followed>();
  readonly #byChannel = new Map<string, string>();
  readonly #held = new HeldFrames<{ readonly topic: string; readonly frame: Kept }>();
  #state: 'down' | 'catching-up' | 'live' = 'down';
  /** Subscribing and catching up exclude each other: a catch-up would overtake a topic that joins in its middle. */
  #work: Promise<unknown> = Promise.resolve();
  /** When the present catch-up began, by the monotonic clock. */
  #behindSince: number | undefined;
  /** When topics that lost their last subscriber are forgotten, by the monotonic clock; the oldest first. */
  readonly #lingering = new Map<string, number>();
  #lingerTimer: NodeJS.Timeout | undefined;
  /** Channels that are not subscribed yet. */
  readonly #joining = new Set<string>();
  #subscribing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #doubt: NodeJS.Timeout | undefined;
  /** When the log was read because of a doubtful frame. */
  #doubtedAt = -Infinity;
  /** Redis' time at the last read of the log. */
  #readAt = 0;
  /** Number of the subscriber's present life. */
  #life = 0;
  #closed = false;
  #dropped = 0;

  constructor(
    private readonly node: ClusterNode,
    private readonly subscriber: RedisSubscriber,
    private readonly reader: Pick<LogReader, 'head' | 'scan' | 'longestPauseMs'>,
    private readonly tail: LogTail,
  ) {
    this.#follow(EVERYONE).subscriptions += 1;
  }

  /** Everything up to here was delivered; `undefined` while something may be missing. */
  get position(): Cursor | undefined {
    return this.#state === 'live' ? this.tail.position : undefined;
  }

  /** What {@link position} was last; `undefined` before the log was read. */
  get lastPosition(): Cursor | undefined {
    return this.tail.position;
  }

  /** Whether the feed has been catching up for more than a few seconds. */
  get behind(): boolean {
    return this.#behindSince !== undefined && performance.now() - this.#behindSince > BEHIND_MS;
  }

  /** The topics with a subscription that no connection follows, without those of a `subscribe` under way. */
  get unfollowed(): string[] {
    const isLeft = ([topic, { joining, subscriptions }]: [string, Followed]): boolean =>
      joining === 0 && subscriptions > 0 && topic !== EVERYONE && !this.node.listener.follows(topic);
    return [...this.#topics].filter(isLeft).map(([topic]) => topic);
  }

  /** Whether frames are held although the log is not read. */
  get holdsForNothing(): boolean {
    return this.#state !== 'catching-up' && this.#held.size > 0;
  }

  /**
   * Follows topics; entries that are published after it resolved are delivered. Calls are counted per topic.
   * @throws SseError `UNAVAILABLE`, then no call is counted
   */
  async subscribe(topics: Iterable<string>): Promise<void> {
    const wanted = [...topics];
    const followed = wanted.map(topic => this.#follow(topic));
    for (const each of followed) each.subscriptions += 1;
    for (const each of followed) each.joining += 1;
    try {
      for (const { subscribed } of followed) await subscribed;
    } catch (error) {
      // Not to be found by the next caller, who tries again.
      this.#unsubscribe(wanted, 0);
      throw error;
    } finally {
      for (const each of followed) each.joining -= 1;
    }
  }

  /** Takes back one `subscribe` of each topic; a topic without any is followed for `history.linger` more. */
  unsubscribe(topics: Iterable<string>): void {
    this.#unsubscribe(topics, this.node.options.history.linger);
  }

  #unsubscribe(topics: Iterable<string>, linger: number): void {
    for (const topic of topics) {
      const followed = this.#topics.get(topic);
      if (followed === undefined || followed.subscriptions === 0) continue;
      followed.subscriptions -= 1;
      if (followed.subscriptions > 0) continue;
      if (linger === 0) this.#forget(topic);
      else this.#lingering.set(topic, performance.now() + linger);
    }
    this.#planForgetting();
  }

  #planForgetting(): void {
    const [first] = this.#lingering.values();
    if (this.#lingerTimer !== undefined || first === undefined) return;
    const onTime = (): void => {
      this.#lingerTimer = undefined;
      const now = performance.now();
      for (const [topic, until] of this.#lingering) {
        if (until > now) break;
        this.#forget(topic);
      }
      this.#planForgetting();
    };
    this.#lingerTimer = setTimeout(onTime, Math.ceil(Math.max(1, first - performance.now()))).unref();
  }

  /** Drops the frames that are held. */
  dropHeld(): void {
    this.#held.clear();
  }

  /** Every channel is subscribed; frames that were published before may be lost. */
  onUp(): void {
    this.#life += 1;
    this.#beginAnew();
    this.#catchUp();
  }

  /** Frames are lost from now on. */
  onDown(): void {
    this.#leave('down');
    this.#held.clear();
  }

  /** A message on a channel of the log. */
  onFrame(channel: string, bytes: Buffer): void {
    const topic = this.#byChannel.get(channel);
    if (topic === undefined) return;
    const followed = this.#topics.get(topic);
    const state = { topic, since: followed?.since ?? 0, readAt: this.#readAt, headMs: this.tail.position?.ms ?? 0 };
    const frame = parsePublication(this.node.signer, state, bytes);
    switch (frame.kind) {
      case 'kept':
        if (this.#state === 'live') this.#accept(topic, frame);
        else if (this.#state === 'catching-up') this.#held.add({ topic, frame }, frame.body.length);
        return;
      case 'unkept':
        this.#deliver(topic, { bytes: frame.body }, frame);
        return;
      case 'early':
        if (this.#state === 'live') this.#catchUp();
        else this.#held.overflow();
        return;
      case 'doubtful':
        // Its entry, if there is one, is after everything that was delivered: the next frame shows that it is missing.
        if (followed?.acknowledged === true) followed.position ??= this.tail.position;
        this.#readAgain();
        return;
      case 'ignored':
    }
  }

  /** Ends timers and drops what is held. Twice is harmless. */
  close(): void {
    this.#closed = true;
    this.#leave('down');
    for (const timer of [this.#timer, this.#lingerTimer, this.#doubt]) clearTimeout(timer);
    this.#held.clear();
  }

  #follow(topic: string): Followed {
    const present = this.#topics.get(topic);
    this.#lingering.delete(topic);
    if (present !== undefined) return present;
    const channel = this.node.gateway.keys.topicChannel(topic);
    const subscribed = this.#subscribe();
    const counts = { subscriptions: 0, joining: 0 };
    const followed: Followed = { ...counts, position: undefined, subscribed, acknowledged: false, since: Infinity };
    const onAnswer = (): void => void Object.assign(followed, { acknowledged: true, since: this.node.signer.now });
    // After a failure, the next connection subscribes the topic before it brings any frame.
    subscribed.then(() => {
      onAnswer();
      if (this.#topics.get(topic) === followed) this.tail.acknowledge(topic);
    }, onAnswer);
    this.#topics.set(topic, followed);
    this.tail.follow(topic);
    this.#byChannel.set(channel, topic);
    this.#joining.add(channel);
    return followed;
  }

  /** One call for all topics that join while another call, or a catch-up, is under way. */
  #subscribe(): Promise<void> {
    this.#subscribing ??= this.#exclusively(async () => {
      // Some of them may have been unsubscribed meanwhile.
      const channels = [...this.#joining].filter(channel => this.#byChannel.has(channel));
      this.#joining.clear();
      this.#subscribing = undefined;
      if (channels.length > 0) await this.subscriber.subscribe(channels);
    });
    return this.#subscribing;
  }

  #forget(topic: string): void {
    const channel = this.node.gateway.keys.topicChannel(topic);
    this.#lingering.delete(topic);
    this.#topics.delete(topic);
    this.#byChannel.delete(channel);
    this.tail.forget(topic);
    this.subscriber.unsubscribe(channel);
  }

  #accept(topic: string, frame: Kept): void {
    const { epoch, position, previous } = frame.entry;
    const followed = this.#topics.get(topic);
    const reached = this.tail.position;
    if (followed === undefined || reached === undefined) return;
    // No connection follows the topic yet. Entries after a frame of a former subscription may be unseen, and are no gap.
    if (!followed.acknowledged) return;
    const foreign = epoch !== reached.epoch;
    if (!foreign && !isAfter(position, reached)) return;
    const missed = followed.position !== undefined && isAfter(previous, followed.position);
    // A frame vanished although the subscription lived, and it is too late for its entry: newer ones were delivered.
    if (!foreign && missed && previous.sequence > 0 && !isAfter(previous, reached)) {
      // The catch-up begins at `reached`, for all topics.
      this.#reportGap({ reason: 'GAP', topics: new Map([[topic, position]]), resumedFrom: reached, until: position });
    }
    if (foreign || missed) {
      // The frame need not be held: its entry is in the log, or in a log that is gone.
      this.#catchUp();
      return;
    }
    followed.position = position;
    const at = { epoch, ...position };
    const delivered = { bytes: prependId(formatCursor(at), frame.body), position: at };
    this.tail.add({ topic, position: at, frame: delivered });
    this.tail.moveTo(at);
    this.#deliver(topic, delivered, frame);
  }

  #catchUp(): void {
    this.#leave('catching-up');
    this.#behindSince ??= performance.now();
    clearTimeout(this.#timer);
    void this.#exclusively(async () => {
      if (this.#state !== 'catching-up') return;
      const life = this.#life;
      try {
        do {
          this.#held.forgetOverflow();
          await this.#readOn();
        } while (this.#held.overflowed);
      } catch (error) {
        this.node.logger.debug('the log could not be read; trying again', { error });
        this.#catchUpAfter(RETRY_MS);
        return;
      }
      // Else the subscription broke meanwhile. Its losses are for the next catch-up, which waits already.
      if (life === this.#life) this.#goLive();
    });
  }

  async #readOn(): Promise<void> {
    const head = this.tail.position ?? (await this.reader.head());
    // A client may have been given an earlier head of the log meanwhile.
    const from = this.tail.position ?? head;
    let end = from;
    for await (const step of catchUp(this.reader, () => [...this.#topics.keys()], from)) {
      this.#deliverStep(step);
      end = step.position;
    }
    for (const [topic, followed] of this.#topics) {
      // No connection here follows a topic before it is subscribed, so none misses its entries until then.
      if (!followed.acknowledged) continue;
      followed.position = end;
      this.tail.acknowledge(topic);
      this.tail.begin(topic, end);
    }
  }

  /** Page by page, so that a failure later does not deliver these entries again. */
  #deliverStep({ gaps, entries, position, run }: CatchUpStep): void {
    this.tail.belongTo(run);
    for (const gap of gaps) this.#reportGap(gap);
    for (const entry of entries) {
      this.node.signer.saw(entry.origin);
      this.tail.add(entry);
      this.#deliver(entry.topic, entry.frame, entry);
    }
    this.tail.moveTo(position);
  }

  #goLive(): void {
    if (this.#state !== 'catching-up') return;
    this.#state = 'live';
    this.tail.live = true;
    this.#behindSince = undefined;
    this.#readAt = this.node.signer.now;
    this.#catchUpAfter(Math.min(LOOK_MS, this.reader.longestPauseMs));
    for (const { topic, frame } of this.#held.drain()) {
      // One of them may show another gap: then the log is read once more, and with it the others.
      if (this.position === undefined) return;
      this.#accept(topic, frame);
    }
  }

  /** From now on something may be missing. */
  #leave(state: 'down' | 'catching-up'): void {
    this.#state = state;
    this.tail.live = false;
    if (state === 'down') this.#behindSince = undefined;
  }

  #catchUpAfter(ms: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#state !== 'down') this.#catchUp();
    }, ms).unref();
  }

  /** A frame that is no data may stand for an entry: the log is read, once for a run of them. */
  #readAgain(): void {
    this.#dropped += 1;
    const { logger } = this.node;
    if (this.#dropped === 1) logger.warn(`a message was no publication, or an old one; ${SAME_NODES}`);
    if (this.#doubt !== undefined || this.#closed) return;
    const wait = Math.max(0, this.#doubtedAt + DOUBT_MS - performance.now());
    this.#doubt = setTimeout(() => {
      this.#doubt = undefined;
      this.#doubtedAt = performance.now();
      if (this.#state === 'live') this.#catchUp();
    }, wait).unref();
  }

  /** Frames from before now may be missing, so a recorded one must not be taken for a new one. */
  #beginAnew(): void {
    const since = this.node.signer.now;
    for (const followed of this.#topics.values()) if (followed.acknowledged) followed.since = since;
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work, work);
    this.#work = done;
    return done;
  }

  #deliver(topic: string, frame: Frame, { trace, id }: Pick<LogEntry, 'trace' | 'id'>): void {
    this.node.listener.onPublication(addressed(topic), frame, trace, id);
  }

  #reportGap(gap: Gap): void {
    const topics = gap.topics && [...gap.topics.keys()].slice(0, LOGGED_TOPICS);
    this.#beginAnew();
    const { logger } = this.node;
    logger.info('the log has a gap; clients that miss entries get sse.reset', { reason: gap.reason, topics });
    this.tail.lose(gap);
    this.node.listener.onGap(gap);
  }
}
