import type { Attempt, Block, ConnectOptions, Handled, StreamState, TransportEnd } from './options.js';
import { scope } from './page.js';
import { type ConnectionEnd, nextStep, type Step } from './rules.js';
import { fetchTransport } from './transports.js';

/** What a stream gets its events from: a connection of its own, or that of another tab. */
export interface Feed {
  /** Connects anew at once. */
  restart(): void;
  /** Ends a pause between two attempts early, and a connection that is silent for too long. */
  wake(): void;
  /** The network is another one: an open connection may be dead. */
  onNetwork(): void;
  /** Ends the connection until `resume`. */
  pause(reason: 'hidden' | 'cached'): void;
  resume(): void;
  /** Ends for good, without a further report. */
  close(): void;
}

/** What a feed reports. */
export interface FeedListener {
  onBlock(block: Block): Handled;
  /** Nothing follows the state `closed`. */
  onState(state: StreamState): void;
}

/** What every connection of a stream has in common. */
export interface ConnectionSettings {
  readonly url: string;
  readonly options: ConnectOptions;
  /** Names that the application listens to. */
  readonly names: ReadonlySet<string>;
}

/** A connection that has been open for so long worked; the next failure is the first one again. */
const LASTING = 5_000;
/** A day, in milliseconds. */
const LONGEST_ASKED = 86_400_000;

/** One stream over one connection after the other, until the server or the application ends it. */
export class Connection implements Feed {
  #running: RunningAttempt | undefined;
  #wait: Wait | undefined;
  #paused: 'hidden' | 'cached' | undefined;
  #closed = false;
  /** Whether the next attempt begins without a pause. */
  #atOnce = false;
  #retry: number;
  #refusedCredentials = false;

  /**
   * @param lastEventId where the next attempt resumes
   * @param failures below 0: so many attempts pass before the status 204 is the end of the stream
   */
  constructor(
    private readonly settings: ConnectionSettings,
    private readonly listener: FeedListener,
    public lastEventId: string | undefined,
    private failures = 0,
  ) {
    this.#retry = settings.options.delay ?? 1_000;
    void this.#run();
  }

  /** @param lastEventId where to resume instead */
  restart(lastEventId?: string): void {
    if (lastEventId !== undefined) this.lastEventId = lastEventId;
    this.#atOnce = true;
    this.#running?.finish(undefined);
    this.#wait?.end();
  }

  wake(): void {
    this.#running?.checkSilence();
    this.#wait?.shorten();
  }

  onNetwork(): void {
    // What the server asked for holds on another network as well.
    if (this.#running === undefined) this.wake();
    else this.restart();
  }

  pause(reason: 'hidden' | 'cached'): void {
    this.#paused = reason;
    this.restart();
  }

  resume(): void {
    this.#paused = undefined;
    this.#wait?.end();
  }

  close(): void {
    this.#closed = true;
    this.restart();
  }

  onBlock(block: Block): Handled {
    if (block.id !== undefined) this.lastEventId = block.id;
    return this.listener.onBlock(block);
  }

  onOpen(connectionId: string | undefined, nodeId: string | undefined): void {
    this.listener.onState({ kind: 'open', connectionId, nodeId });
  }

  onRetry(ms: number): void {
    this.#retry = Math.min(ms, LONGEST_ASKED);
  }

  async #run(): Promise<void> {
    // The application adds its listeners first.
    await Promise.resolve();
    while (!this.#closed) {
      if (this.#paused !== undefined) {
        this.listener.onState({ kind: 'paused', reason: this.#paused });
        await this.#sleep(Infinity, Infinity);
        continue;
      }
      const end = await this.#attempt();
      // Ended by this side.
      if (end === undefined) continue;
      const step = this.#next(end);
      if (step.kind === 'stop') {
        this.#closed = true;
        this.listener.onState({ ...step.end, kind: 'closed' });
        return;
      }
      this.failures += 1;
      this.listener.onState({ ...step.end, kind: 'waiting', retryAt: Date.now() + step.ms });
      // The listener may have closed the stream, or asked for a connection.
      if (!this.#atOnce) await this.#sleep(step.ms, step.atLeast);
    }
  }

  async #attempt(): Promise<ConnectionEnd | undefined> {
    this.listener.onState({ kind: 'connecting', attempt: Math.max(0, this.failures) });
    // The listener may have closed or paused the stream.
    if (this.#closed || this.#paused !== undefined) return undefined;
    this.#atOnce = false;
    this.#running = new RunningAttempt(this.settings, this);
    const end = await this.#running.ended;
    if (performance.now() - this.#running.openedAt > LASTING) this.failures = 0;
    this.#running = undefined;
    return end;
  }

  #next(end: ConnectionEnd): Step {
    const step = nextStep(end, this.settings.options, {
      failures: this.failures,
      retry: this.#retry,
      refusedCredentials: this.#refusedCredentials,
    });
    this.#refusedCredentials = end.kind === 'refused' && end.status === 401;
    return step;
  }

  async #sleep(ms: number, atLeast: number): Promise<void> {
    this.#wait = new Wait(ms, atLeast);
    await this.#wait.over;
    this.#wait = undefined;
  }
}

/** The pause before an attempt. */
class Wait {
  readonly over: Promise<void>;
  #resolve: () => void = () => undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #startedAt = performance.now();

  /** @param ms Infinity waits for {@link Wait.end} */
  constructor(
    ms: number,
    private readonly atLeast: number,
  ) {
    this.over = new Promise(resolve => (this.#resolve = resolve));
    this.#set(ms);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#resolve();
  }

  /** Ends when the server's own demand is met. */
  shorten(): void {
    this.#set(this.atLeast - (performance.now() - this.#startedAt));
  }

  #set(ms: number): void {
    clearTimeout(this.#timer);
    if (ms < Infinity) this.#timer = setTimeout(this.#resolve, Math.min(Math.max(0, ms), LONGEST_ASKED));
  }
}

/** One attempt, from the request to the end of its connection. */
class RunningAttempt implements Attempt {
  readonly url: string;
  readonly options: ConnectOptions;
  readonly names: ReadonlySet<string>;
  readonly lastEventId: string | undefined;
  readonly signal: AbortSignal;
  /** `undefined` when this side ended it. */
  readonly ended: Promise<ConnectionEnd | undefined>;

  /** By the monotonic clock; never so far. */
  openedAt = Infinity;

  readonly #abort = new AbortController();
  #resolve: (end: ConnectionEnd | undefined) => void = () => undefined;
  #aliveAt = performance.now();
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  /** The latest `retry:`, until an event follows that it does not belong to. */
  #asked = 0;

  constructor(
    settings: ConnectionSettings,
    private readonly connection: Connection,
  ) {
    ({ url: this.url, options: this.options, names: this.names } = settings);
    this.lastEventId = connection.lastEventId;
    this.signal = this.#abort.signal;
    this.ended = new Promise(resolve => (this.#resolve = resolve));
    this.checkSilence();
    void this.#read();
  }

  onBlock(block: Block): Handled {
    const { event, data } = block;
    if (this.signal.aborted) return undefined;
    const facts = isLibraryEvent(event) ? factsIn(data) : {};
    if (event !== 'sse.closed') {
      this.#asked = 0;
      if (data !== undefined && this.openedAt === Infinity) {
        this.openedAt = performance.now();
        this.connection.onOpen(facts.connectionId, facts.nodeId);
      }
    }
    const results = this.connection.onBlock(block);
    if (event === 'sse.closed') {
      this.finish({ kind: 'closed', reason: facts.reason ?? 'closed', retry: this.#asked });
    }
    return results;
  }

  onRetry(ms: number): void {
    if (this.signal.aborted) return;
    this.#asked = ms;
    this.connection.onRetry(ms);
  }

  onAlive(): void {
    this.#aliveAt = performance.now();
  }

  /** Ends the attempt when nothing has come for too long, and otherwise looks again when that may be so. */
  checkSilence(): void {
    const { silence = 75_000 } = this.options;
    if (silence === false) return;
    clearTimeout(this.#watchdog);
    const left = silence - (performance.now() - this.#aliveAt);
    if (left <= 0) this.finish({ kind: 'broken', reason: 'silent' });
    else this.#watchdog = setTimeout(() => this.checkSilence(), left);
  }

  finish(end: ConnectionEnd | undefined): void {
    clearTimeout(this.#watchdog);
    this.#resolve(end);
    this.#abort.abort();
  }

  async #read(): Promise<void> {
    const { confirm = fetchTransport, transport = confirm } = this.options;
    let ended: Promise<TransportEnd> | undefined;
    try {
      ended = transport(this);
      const end = await ended;
      this.finish(end.kind === 'ended' ? { kind: 'broken', reason: 'ended' } : end);
    } catch (error) {
      const failed = scope.navigator?.onLine === false ? 'offline' : 'failed';
      // A transport that throws before it begins was given options that it cannot use.
      this.finish({ kind: 'broken', reason: ended === undefined ? 'unusable' : failed, message: String(error) });
    }
  }
}

/** Whether the library itself sends events of this name. */
export function isLibraryEvent(event: string): boolean {
  return event === 'connected' || event.startsWith('sse.');
}

/** Fields of the library's events. */
interface Facts {
  readonly connectionId?: string;
  readonly nodeId?: string;
  readonly reason?: string;
  /** Allows this client to confirm. */
  readonly confirm?: string;
}

/** The text fields of an event of the library; none for data that is no object. */
export function factsIn(json = ''): Facts {
  // Any object; its fields are used as text only.
  return Object(parseJson(json)) as Facts;
}

/** The value of JSON text; the text itself when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
