import type {
  CloseReason,
  ConnectionSink,
  ConnectionState,
  SinkListener,
} from '../contracts/connection.js';
import type {
  Cursor,
  EventOptions,
  Frame,
  Gap,
  LocalReceipt,
  LocalResult,
  Position,
} from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import { encodeComment } from '../protocol/event-stream.js';
import { checkReason } from '../protocol/names.js';
import { NoticeFrame } from '../protocol/gap.js';
import { ClientCursor } from './cursor.js';
import { BUFFERED, DELIVERED, directSend, MessageMemory, NOT_CONNECTED } from './direct-send.js';
import { closedFrame, type ConnectionEnvironment, type ConnectionIdentity } from './environment.js';
import { pump, sourceOf, SourceTarget } from './source.js';
import { type Beating, HEARTBEAT, type Watched } from './timers.js';
import { FrameWriter } from './writer.js';

const OPENING: ConnectionState = { kind: 'opening' };
const OPEN: ConnectionState = { kind: 'open' };
const NO_TOPICS: ReadonlySet<string> = new Set();

/** One client: its identity, its state, and the rules by which it takes events or is given up. */
export class ClientConnection implements LocalConnection, SinkListener, Watched, Beating {
  readonly id: string;
  readonly ordinal: number;
  readonly lastEventId: string | undefined;
  readonly openedAt = Date.now();
  /** Set by the registration, before the connection goes live. */
  fencingToken = 0;
  origin: unknown = undefined;

  readonly #environment: ConnectionEnvironment;
  readonly #sink: ConnectionSink;
  readonly #writer: FrameWriter;
  #topics: Set<string> | undefined;
  #state: ConnectionState = OPENING;
  #opened = false;
  // Whether its stop was made known; once only, although an end in the middle of `close` stops it too.
  #told = false;
  #sources = 0;
  readonly #cursor = new ClientCursor();
  #memory: MessageMemory | undefined;
  #closing: Closing | undefined;
  #waiters: (() => void)[] | undefined;

  constructor(
    identity: ConnectionIdentity,
    sink: ConnectionSink,
    environment: ConnectionEnvironment,
  ) {
    ({ id: this.id, ordinal: this.ordinal, lastEventId: this.lastEventId } = identity);
    this.#sink = sink;
    this.#environment = environment;
    this.#writer = new FrameWriter(sink, environment, this);
    sink.attach(this);
  }

  get token(): string {
    return this.ordinal.toString(36);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get topics(): ReadonlySet<string> {
    return this.#topics ?? NO_TOPICS;
  }

  get signal(): AbortSignal {
    return this.#end().signal;
  }

  get closed(): Promise<CloseReason> {
    return this.#end().closed;
  }

  get sendBufferBytes(): number {
    return this.#writer.pendingBytes;
  }

  get piping(): boolean {
    return this.#sources > 0;
  }

  get lastTakenAt(): number {
    return this.#writer.takenAt;
  }

  /** Writes the head and the first event. Only in state `opening`, once. */
  open(first: Frame): void {
    this.#opened = true;
    this.#sink.open();
    this.replay(first);
  }

  /** Writes a frame ahead of everything held. Only in state `opening`, after {@link open}. */
  replay(frame: Frame): void {
    if (this.#state.kind === 'opening') this.#writer.writeThrough(frame);
  }

  /** Ends the opening: what was held and is newer than `start`, if it starts anywhere, follows; then events as they come. */
  goLive(start: Cursor | undefined): void {
    if (this.#state.kind !== 'opening') return;
    this.#state = OPEN;
    this.#cursor.start(start);
    this.#environment.wheel?.add(this);
    this.#environment.watchdog.age(this);
    this.#writer.release(frame => this.#due(frame));
    this.#writer.writeBatch();
  }

  deliver(frame: Frame): LocalResult {
    if (this.#sink.closed) return NOT_CONNECTED;
    const result = this.enqueue(frame);
    if (result !== DELIVERED) return result;
    this.#writer.writeBatch();
    if (this.#writer.gone) return NOT_CONNECTED;
    return this.#sink.pendingBytes === 0 ? DELIVERED : BUFFERED;
  }

  deliverOnce(messageId: string, frame: Frame): LocalResult {
    const now = Date.now();
    const earlier = this.#memory?.recall(messageId, now);
    if (earlier !== undefined) return earlier;
    const result = this.deliver(frame);
    if (result === DELIVERED || result === BUFFERED) {
      this.#memory ??= new MessageMemory();
      this.#memory.remember(messageId, result, now);
    }
    return result;
  }

  enqueue(frame: Frame): LocalResult {
    switch (this.#state.kind) {
      case 'draining':
      case 'closed':
        return NOT_CONNECTED;
      case 'open':
        return this.#cursor.isNews(frame) ? this.#writer.take(frame) : DELIVERED;
      case 'opening':
        return this.#writer.take(frame);
    }
  }

  hasReached(position: Position): boolean {
    return this.#cursor.hasReached(position);
  }

  miss(gap: Gap): void {
    if (this.#stopped) return;
    const notice = this.#environment.noticeOf(gap);
    const held = this.#state.kind === 'opening';
    const frame = held
      ? notice.frameFor(this.topics, true)
      : this.#cursor.tell(notice, this, this.#environment.observer);
    if (frame !== undefined) this.#writer.take(frame);
  }

  noticeOf(dropped: Frame): NoticeFrame | undefined {
    return this.#cursor.overflowed(dropped, this, this.#environment.observer);
  }

  send(event: string, data: unknown, options?: EventOptions): LocalReceipt {
    return directSend(this, this.#environment, event, data, options);
  }

  async pipe(source: unknown): Promise<void> {
    this.#sources += 1;
    try {
      await pump(sourceOf(source), new SourceTarget(this, this.#environment));
    } finally {
      this.#sources -= 1;
    }
  }

  comment(text: string): void {
    this.enqueue({ bytes: encodeComment(text) });
  }

  drained(): Promise<void> {
    if (this.#stopped || !this.#writer.blocked) return Promise.resolve();
    return new Promise(resolve => {
      (this.#waiters ??= []).push(resolve);
    });
  }

  close(reason: CloseReason = 'closed', last?: Frame): void {
    checkReason(reason);
    if (this.#stopped) return;
    if (!this.#opened || this.#sink.closed) {
      this.cut(reason);
      return;
    }
    this.#state = { kind: 'draining', reason };
    this.#writer.finish(last ?? closedFrame(reason, this.#environment.reconnectIn(reason)));
    this.#stop(reason);
  }

  /** Closes without a word; for clients that take nothing. An unopened sink is left to whoever made it. */
  cut(reason: CloseReason): void {
    if (this.#state.kind === 'closed') return;
    const finalReason = this.#state.kind === 'draining' ? this.#state.reason : reason;
    this.#state = { kind: 'closed', reason: finalReason };
    this.#writer.discard();
    this.#environment.watchdog.forget(this);
    if (this.#opened) this.#sink.destroy();
    this.#stop(finalReason);
    this.#closing?.settle(finalReason);
    this.#environment.observer.onClosed(this);
  }

  addTopic(topic: string): void {
    (this.#topics ??= new Set()).add(topic);
  }

  removeTopic(topic: string): void {
    this.#topics?.delete(topic);
  }

  onDrain(): void {
    this.#writer.onDrain();
    if (!this.#writer.blocked) this.#wake();
  }

  onClose(): void {
    this.cut('client');
  }

  beat(): void {
    if (!this.#writer.blocked) this.enqueue(HEARTBEAT);
  }

  checkStall(now: number): boolean {
    const stall = this.#writer.stall(now);
    if (stall === 'stale') this.cut('stale');
    return stall === 'waiting';
  }

  expire(): void {
    this.close('max-age');
  }

  get #stopped(): boolean {
    return this.#state.kind === 'draining' || this.#state.kind === 'closed';
  }

  /** What to write for a frame that was held. */
  #due(frame: Frame): Frame | undefined {
    if (frame instanceof NoticeFrame)
      return this.#cursor.tell(frame.notice, this, this.#environment.observer);
    return this.#cursor.isNews(frame) ? frame : undefined;
  }

  #stop(reason: CloseReason): void {
    if (this.#told) return;
    this.#told = true;
    this.#environment.wheel?.remove(this);
    this.#environment.watchdog.forgetAge(this);
    this.#memory = undefined;
    this.#wake();
    this.#closing?.abort(reason);
    this.#environment.observer.onStopped(this, reason);
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = undefined;
    waiters?.forEach(resolve => resolve());
  }

  #end(): Closing {
    this.#closing ??= new Closing(this.#state);
    return this.#closing;
  }
}

/** The signal and the promise of a connection's end; made only for connections somebody asks. */
class Closing {
  readonly #controller = new AbortController();
  readonly closed: Promise<CloseReason>;
  #settle: (reason: CloseReason) => void = () => undefined;

  /** @param state the connection's state now, which may be its end already */
  constructor(state: ConnectionState) {
    this.closed = new Promise(resolve => {
      this.#settle = resolve;
    });
    if (state.kind === 'draining' || state.kind === 'closed') this.abort(state.reason);
    if (state.kind === 'closed') this.settle(state.reason);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason: CloseReason): void {
    this.#controller.abort(reason);
  }

  settle(reason: CloseReason): void {
    this.#settle(reason);
  }
}
