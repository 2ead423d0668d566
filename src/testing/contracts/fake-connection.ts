import type { CloseReason, ConnectionState } from '../../contracts/connection.js';
import type { Frame, Gap, LocalReceipt, LocalResult } from '../../contracts/events.js';
import type { DirectMessage, LocalConnection } from '../../contracts/store.js';

const made = { connections: 0 };

/** A connection without a socket: it records its frames and answers with the set outcome. */
export class FakeConnection implements LocalConnection {
  readonly token: string;
  readonly ordinal: number;
  readonly user = undefined;
  readonly fencingToken = undefined;
  readonly lastEventId = undefined;
  readonly openedAt = 0;
  readonly lastProgressAt = 0;
  readonly results = undefined;
  readonly cursor = undefined;
  readonly lastOutcome = undefined;
  readonly piping = false;
  readonly ownIds = false;
  readonly sendBufferBytes = 0;
  readonly topics: ReadonlySet<string>;
  state: ConnectionState = { kind: 'open' };
  /** Every frame that was sent to it, in order. */
  readonly frames: Frame[] = [];
  /** Every gap that was reported to it. */
  readonly gaps: Gap[] = [];
  /** How often it was closed or cut. */
  ends = 0;
  /** What it answers to a frame. */
  answer: LocalResult = { outcome: 'delivered' };
  /** Called with each frame, before the answer. */
  onFrame: (frame: Frame) => void = () => undefined;
  readonly #topics: Set<string>;
  readonly #controller = new AbortController();

  constructor(
    readonly id: string,
    topics: Iterable<string> = [],
  ) {
    made.connections += 1;
    this.ordinal = made.connections;
    this.token = this.ordinal.toString(36);
    this.#topics = new Set(topics);
    this.topics = this.#topics;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get closed(): Promise<CloseReason> {
    return Promise.resolve('closed');
  }

  deliver(frame: Frame): LocalResult {
    this.frames.push(frame);
    this.onFrame(frame);
    return this.answer;
  }

  deliverAll(messages: readonly DirectMessage[]): LocalResult[] {
    return messages.map(({ messageId, frame }) => this.deliverOnce(messageId, frame));
  }

  deliverOnce(_messageId: string, frame: Frame): LocalResult {
    return this.deliver(frame);
  }

  moveTo(): boolean {
    return false;
  }

  hasReached(): boolean {
    return true;
  }

  wasRefused(): boolean {
    return false;
  }

  reportGap(gap: Gap): void {
    this.gaps.push(gap);
  }

  enqueue(frame: Frame): LocalResult {
    return this.deliver(frame);
  }

  send(): LocalReceipt {
    return { outcome: 'not-connected', connectionId: this.id, messageId: '', ms: 0 };
  }

  comment(): void {
    // Comments are not recorded.
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  pipe(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.ends += 1;
  }

  goAway(): void {
    // Nothing to ask.
  }

  cut(): void {
    this.ends += 1;
  }

  addTopic(topic: string): void {
    this.#topics.add(topic);
  }

  removeTopic(topic: string): void {
    this.#topics.delete(topic);
  }
}
