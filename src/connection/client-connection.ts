import type { CloseReason, ConnectionSink, ConnectionState, Reset, SinkListener } from '../contracts/connection.js';
import type { Cursor, EventOptions, Frame, Gap, LocalReceipt, LocalResult, Position } from '../contracts/events.js';
import type { DirectMessage, LocalConnection, MessageResults } from '../contracts/store.js';
import { formatCursor } from '../protocol/cursor.js';
import { encodeComment, GapReport, joinResets, ResetFrame } from '../protocol/event-stream.js';
import { checkReason, userOf } from '../protocol/names.js';
import { ClientCursor, ClientIds } from './cursor.js';
import { BUFFERED, DELIVERED, deliverAll, directSend, MessageMemory, NOT_CONNECTED, OTHER_ID } from './direct-send.js';
import { Ending, Handling, isEnded, isHeadSent, lastFrame, SENT, type State, UNSENT } from './end.js';
import type { ConnectionEnvironment, ConnectionIdentity } from './environment.js';
import { pump, sourceOf, SourceTarget } from './source.js';
import { type Beating, HEARTBEAT, type Watched } from './scheduler.js';
import { FrameWriter } from './writer.js';

const OPENING: ConnectionState = { kind: 'opening' };
const OPEN: State = { kind: 'open' };
const NO_TOPICS: ReadonlySet<string> = new Set();

/** One client: its identity, its state, and the rules by which it accepts events and ends. */
export class ClientConnection implements LocalConnection, SinkListener, Watched, Beating {
  readonly id: string;
  readonly ordinal: number;
  readonly lastEventId: string | undefined;
  /** How often in a row the streams of its client have failed. */
  readonly failures: number;
  readonly ownIds: boolean;
  readonly openedAt: number;
  /** Set when the cluster has registered the connection. */
  fencingToken: number | undefined = undefined;
  origin: unknown = undefined;

  readonly #environment: ConnectionEnvironment;
  readonly #sink: ConnectionSink;
  readonly #writer: FrameWriter;
  readonly #cursor = new ClientCursor();
  #state: State = UNSENT;
  #topics: Set<string> | undefined;
  #sources = 0;
  #memory: MessageMemory | undefined;
  /** While a handler runs before the head is sent. */
  #handling: Handling | undefined;
  readonly #ids: ClientIds;
  #ending: Ending | undefined;
  #waiters: (() => void)[] | undefined;
  // The resets that the client was given and of which the observer has not been notified.
  #resets: Reset | undefined;

  constructor(identity: ConnectionIdentity, sink: ConnectionSink, environment: ConnectionEnvironment) {
    this.ownIds = identity.ids === 'application';
    this.#ids = new ClientIds(this.ownIds);
    ({ id: this.id, ordinal: this.ordinal, lastEventId: this.lastEventId, failures: this.failures = 0 } = identity);
    this.openedAt = identity.openedAt ?? performance.now();
    this.#sink = sink;
    this.#environment = environment;
    this.#writer = new FrameWriter(sink, environment, this);
    sink.attach(this);
  }

  get user(): string | undefined {
    return userOf(this.id);
  }

  get token(): string {
    return this.ordinal.toString(36);
  }

  get state(): ConnectionState {
    return this.#state.kind === 'opening' ? OPENING : this.#state;
  }

  get topics(): ReadonlySet<string> {
    return this.#topics ?? NO_TOPICS;
  }

  get signal(): AbortSignal {
    return this.#observedEnding().signal;
  }

  get closed(): Promise<CloseReason> {
    return this.#observedEnding().closed;
  }

  get sendBufferBytes(): number {
    return this.#writer.pendingBytes;
  }

  get results(): MessageResults | undefined {
    return this.#memory;
  }

  get cursor(): Cursor | undefined {
    return this.#cursor.cursor;
  }

  get lastOutcome(): LocalResult['outcome'] | undefined {
    return this.#writer.lastOutcome;
  }

  get piping(): boolean {
    return this.#sources > 0;
  }

  get lastProgressAt(): number {
    return this.#writer.progressAt;
  }

  /** A handler begins. */
  beginHandling(): Handling {
    return (this.#handling = new Handling());
  }

  /** Writes the response head and the first event, whose id is this position. Once, in state `opening`. */
  open(first: Frame, at?: Cursor): void {
    this.#sink.open();
    if (this.#state.kind === 'opening') this.#state = SENT;
    this.replay(first, at);
  }

  /**
   * Writes a frame, whose id is the position `at`, ahead of all held frames, whatever its size. Only in state `opening`,
   * after {@link open}; wait for {@link drained} between two pages.
   */
  replay(frame: Frame, at: Cursor | undefined = frame.position): void {
    if (this.#state.kind === 'opening') this.#writer.replay(this.#cursor.shown(frame, at));
  }

  /** As {@link replay}, for an event that is no part of a page: within the bounds of `sendBuffer.*`. */
  insert(frame: Frame): LocalResult {
    if (this.#state.kind !== 'opening') return NOT_CONNECTED;
    if (!this.#ids.admits(frame)) return OTHER_ID;
    const result = this.#writer.enqueue(frame);
    return result === DELIVERED ? BUFFERED : result;
  }

  /**
   * Ends the opening: writes the held frames that are newer than `start`, and from now on events as they come.
   * @param start the client's cursor; `undefined` for a client that gets no entry of the log
   */
  goLive(start: Cursor | undefined): void {
    if (this.#state.kind !== 'opening') return;
    this.#state = OPEN;
    this.#cursor.start(start);
    this.#environment.wheel?.add(this);
    this.#environment.watchdog.age(this);
    this.#writer.release(frame => this.#due(frame));
    this.#writer.writeBatch();
    this.#reportResets();
    if (!this.#writer.blocked) this.#wake();
    const deferred = this.#handling?.deferred;
    this.#handling = undefined;
    if (deferred !== undefined) this.close(deferred);
  }

  /**
   * Begins the opening of an open connection anew: from now on what arrives is held until {@link goLive}. Returns whether it
   * did; not while the socket is behind, since frames that wait would be overtaken.
   */
  reopen(): boolean {
    if (this.#state.kind !== 'open') return false;
    this.#writer.writeBatch();
    // The write itself may have closed the connection, or filled the socket.
    if (this.#writer.gone || this.#writer.blocked) return false;
    this.#state = SENT;
    return true;
  }

  deliver(frame: Frame): LocalResult {
    const result = this.put(frame);
    return result === DELIVERED ? this.write() : result;
  }

  deliverOnce(messageId: string, frame: Frame): LocalResult {
    return this.deliverAll([{ messageId, frame }])[0] ?? NOT_CONNECTED;
  }

  deliverAll(messages: readonly DirectMessage[]): readonly LocalResult[] {
    this.#memory ??= new MessageMemory();
    this.#environment.memories.watch(this.#memory);
    return deliverAll(this, this.#memory, messages);
  }

  put(frame: Frame): LocalResult {
    if (this.#sink.closed) return NOT_CONNECTED;
    return this.#ids.admits(frame) ? this.enqueue(frame) : OTHER_ID;
  }

  write(): LocalResult {
    this.#writer.writeBatch();
    return this.#writer.gone ? NOT_CONNECTED : this.#writer.keepsUp ? DELIVERED : BUFFERED;
  }

  enqueue(frame: Frame): LocalResult {
    switch (this.#state.kind) {
      case 'opening':
        return this.#writer.hold(frame);
      case 'open':
        return this.#cursor.admits(frame) ? this.#accept(this.#ids.shown(frame)) : DELIVERED;
      case 'draining':
      case 'closed':
        return NOT_CONNECTED;
    }
  }

  hasReached(position: Position): boolean {
    return this.#cursor.hasReached(position);
  }

  moveTo(position: Cursor, frame: Frame): boolean {
    return this.#cursor.moveTo(position) && this.#writer.enqueue(frame) === DELIVERED;
  }

  wasRefused(position: Position): boolean {
    return this.#cursor.wasRefused(position);
  }

  reportGap(gap: Gap): void {
    if (this.ownIds || isEnded(this.#state)) return;
    const report = GapReport.of(gap);
    if (this.#state.kind === 'opening') {
      // Stands among the held frames. Which topics the client misses is decided when its cursor is known.
      this.#writer.hold(report.frameFor([...this.topics], true));
      return;
    }
    const frame = this.#resetFor(report);
    if (frame !== undefined) this.#writer.enqueue(frame);
  }

  resetForDropped(dropped: Frame): ResetFrame | undefined {
    return this.#given(this.#cursor.resetForDropped(dropped, this.topics));
  }

  send(event: string, data: unknown, options?: EventOptions): LocalReceipt {
    this.#handling?.use();
    return directSend(this, this.#environment, event, data, options);
  }

  async pipe(source: unknown): Promise<void> {
    this.#handling?.use();
    this.#sources += 1;
    try {
      await pump(sourceOf(source), new SourceTarget(this, this.#environment, id => this.#ids.gave(id)));
    } finally {
      this.#sources -= 1;
    }
  }

  comment(text: string): void {
    this.#handling?.use();
    this.enqueue({ bytes: encodeComment(text) });
  }

  drained(): Promise<void> {
    this.#handling?.use();
    // A handler that sends as fast as it may would fill the send buffer while the connection opens.
    return this.#state.kind === 'opening' ? this.#wait() : this.written();
  }

  /** As {@link drained}, for a replay. */
  written(): Promise<void> {
    return !this.#writer.blocked || isEnded(this.#state) ? Promise.resolve() : this.#wait();
  }

  close(reason: CloseReason = 'closed', last?: Frame): void {
    checkReason(reason);
    if (isEnded(this.#state)) return;
    const { kind } = this.#state;
    if (this.#handling?.defers(reason) === true) return;
    if (!isHeadSent(this.#state) || this.#sink.closed) {
      this.cut(reason);
      return;
    }
    this.#state = { kind: 'draining', reason };
    this.#stop(reason);
    // Entries before the held ones may be missing.
    if (kind === 'opening') this.#writer.dropHeld();
    this.#writer.finish(last ?? this.#lastFrame(reason, kind));
  }

  goAway(): void {
    this.#sink.goAway?.();
  }

  /** Closes without a last event. Leaves a sink whose head was not written to its creator. */
  cut(reason: CloseReason): void {
    const before = this.#state;
    if (before.kind === 'closed') return;
    const finalReason = before.kind === 'draining' ? before.reason : reason;
    this.#state = { kind: 'closed', reason: finalReason };
    this.#writer.discard();
    this.#environment.watchdog.forget(this);
    if (isHeadSent(before)) this.#sink.destroy();
    if (before.kind !== 'draining') this.#stop(finalReason);
    this.#ending?.settle(finalReason);
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
    if (this.#writer.blocked) return;
    this.#wake();
    this.#reportResets();
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

  #lastFrame(reason: CloseReason, kind: ConnectionState['kind']): Frame {
    const { cursor } = this.#cursor;
    // A replay that was broken off has given the client ids that nothing here knows.
    const position = kind === 'opening' ? undefined : cursor && formatCursor(cursor);
    const lastEventId = this.#ids.last(position, this.lastEventId);
    const openMs = performance.now() - this.openedAt;
    return lastFrame(reason, this.#environment.reconnect, { lastEventId, failures: this.failures, openMs });
  }

  #accept(frame: Frame): LocalResult {
    const result = this.#writer.enqueue(frame);
    if (result.outcome === 'rejected') this.#cursor.refuse(frame);
    return result;
  }

  /** The frame to write for one that was held; `undefined` when the client does not need it. */
  #due(held: Frame): Frame | undefined {
    if (held instanceof ResetFrame) return this.#resetFor(held.report);
    return this.#cursor.admits(held) ? this.#ids.shown(held) : undefined;
  }

  /** The event for the client, if it misses entries of the gap. */
  #resetFor(report: GapReport): ResetFrame | undefined {
    return this.#given(this.#cursor.resetFor(report, this.topics));
  }

  #given(frame: ResetFrame | undefined): ResetFrame | undefined {
    if (frame === undefined) return undefined;
    this.#environment.observer.onReset(this, frame.reset);
    // The frame itself has not been written yet.
    if (this.#resets === undefined) queueMicrotask(() => this.#reportResets());
    this.#resets = joinResets(this.#resets, frame.reset);
    return frame;
  }

  /** Notifies the observer once the client has taken all that was to be written when it got its resets. */
  #reportResets(): void {
    const resets = this.#resets;
    if (resets === undefined || this.#state.kind !== 'open' || this.#writer.blocked) return;
    this.#resets = undefined;
    this.#environment.observer.onResetReached(this, resets);
  }

  /** Ends all that belongs to a connection that accepts events. Called once, when its state has become `draining` or `closed`. */
  #stop(reason: CloseReason): void {
    this.#environment.wheel?.remove(this);
    this.#environment.watchdog.forgetAge(this);
    if (this.#memory !== undefined) this.#environment.memories.end(this.id, this.#memory);
    this.#memory = undefined;
    this.#handling?.use();
    this.#handling = undefined;
    this.#wake();
    this.#ending?.abort(reason);
    this.#environment.observer.onStopped(this, reason);
  }

  #wait(): Promise<void> {
    return new Promise(resolve => (this.#waiters ??= []).push(resolve));
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = undefined;
    waiters?.forEach(resolve => resolve());
  }

  #observedEnding(): Ending {
    this.#ending ??= new Ending(this.state);
    return this.#ending;
  }
}
