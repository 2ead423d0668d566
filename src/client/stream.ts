import { Connection, factsIn, type Feed, type FeedListener, isLibraryEvent, parseJson } from './connection.js';
import { compareIds } from './cursor.js';
import type {
  AllEvents,
  AnyEvent,
  Block,
  ClosedState,
  ConnectOptions,
  EventMap,
  EventName,
  Gap,
  Handled,
  ReceivedEvent,
  StreamState,
} from './options.js';
import { followPage, scope } from './page.js';
import { canShare, SharedFeed } from './shared-feed.js';

/** Called with the data of each event of a name. What it returns counts for `confirm` alone, which waits for a promise. */
export type Listener<Name extends string = string, Data = unknown> = (
  data: Data,
  event: ReceivedEvent<Name, Data>,
) => unknown;

type AnyListener = (data: never, event: never) => unknown;

/** Events that wait for the reader of an async iteration, in number. */
const MOST_QUEUED = 10_000;

/**
 * Opens a stream, which connects, reconnects and resumes by itself until it is closed. Events of the log come in order and
 * once; what is missing is reported to {@link SseStream.onGap}.
 * @param url relative to the page; outside of a page it must be absolute
 * @throws TypeError for a URL that is none
 */
export function connect<Events extends object = EventMap>(
  url: string | URL,
  options: ConnectOptions = {},
): SseStream<Events> {
  return new SseStream(new URL(url, scope.location?.href).href, options);
}

/** One stream of events, over any number of connections. Made by {@link connect}. */
export class SseStream<Events extends object = EventMap> implements AsyncIterable<AnyEvent<Events>> {
  /** Resolves when the stream has ended for good, with the reason. Never rejects. */
  readonly closed: Promise<ClosedState>;

  readonly #options: ConnectOptions;
  readonly #storageKey: string;
  readonly #feed: Feed;
  readonly #listeners = new Map<string, Set<AnyListener>>();
  readonly #stateListeners = new Set<(state: StreamState) => void>();
  readonly #readers = new Set<(event: ReceivedEvent | undefined) => void>();
  readonly #names = new Set<string>();
  readonly #leavePage: () => void;
  #state: StreamState = { kind: 'connecting', attempt: 0 };
  #lastEventId: string | undefined;
  #resolveClosed: (state: ClosedState) => void = () => undefined;
  readonly #onAbort = (): void => this.#end('aborted');

  /** @internal */
  constructor(url: string, options: ConnectOptions) {
    this.#options = options;
    this.#storageKey = `sse:${url}`;
    this.#lastEventId = options.lastEventId;
    // The storage may be forbidden or, outside of a page, not there; the stream goes on without.
    if (options.resume !== undefined)
      this.#guard(() => (this.#lastEventId ??= sessionStorage.getItem(this.#storageKey) ?? undefined));
    this.closed = new Promise(resolve => (this.#resolveClosed = resolve));
    const listener: FeedListener = {
      onBlock: block => this.#onBlock(block),
      onState: state => this.#onState(state),
    };
    const settings = { url, options, names: this.#names };
    const { share = false } = options;
    this.#feed =
      share !== false && canShare()
        ? new SharedFeed(`sse:${share}:${url}`, settings, listener, () => this.#lastEventId)
        : new Connection(settings, listener, this.#lastEventId);
    this.#leavePage = followPage(
      {
        wake: () => this.#feed.wake(),
        onNetwork: () => this.#feed.onNetwork(),
        pause: reason => this.#feed.pause(reason),
        resume: () => this.#feed.resume(),
        onLeave: () => this.#keep(),
      },
      options.pauseHidden ?? false,
    );
    const { signal } = options;
    if (signal?.aborted === true) this.#end('aborted');
    signal?.addEventListener('abort', this.#onAbort);
  }

  /** What the stream does at present. */
  get state(): StreamState {
    return this.#state;
  }

  /** Where the stream resumes; `undefined` until the server has sent an id. */
  get lastEventId(): string | undefined {
    return this.#lastEventId;
  }

  /** Calls the listener with each event of a name. Returns a function that ends this. */
  on<Name extends EventName<Events>>(name: Name, listener: Listener<Name, AllEvents<Events>[Name]>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    this.#names.add(name);
    // Called only with events of this name.
    listeners.add(listener);
    return () => this.off(name, listener);
  }

  /** The same for the next event of a name only. */
  once<Name extends EventName<Events>>(name: Name, listener: Listener<Name, AllEvents<Events>[Name]>): () => void {
    const off = this.on(name, (data, event) => {
      off();
      return listener(data, event);
    });
    return off;
  }

  /** Ends what {@link on} began. */
  off<Name extends EventName<Events>>(name: Name, listener: Listener<Name, AllEvents<Events>[Name]>): void {
    this.#listeners.get(name)?.delete(listener);
  }

  /**
   * Calls the listener when entries are missing, before any event that comes after them. The application loads the topics
   * of the gap anew.
   */
  onGap(listener: (gap: Gap) => void): () => void {
    return this.on('sse.reset', listener);
  }

  /** Calls the listener with each change of {@link state}. */
  onState(listener: (state: StreamState) => void): () => void {
    this.#stateListeners.add(listener);
    return () => this.#stateListeners.delete(listener);
  }

  /** Connects anew at once, for example with new credentials. Does nothing when the stream is closed. */
  reconnect(): void {
    if (this.#state.kind !== 'closed') this.#feed.restart();
  }

  /** Ends the stream for good. */
  close(): void {
    this.#end('client');
  }

  /**
   * Every event from the first `next()` on, the library's included. Ends with the stream; throws if that was refused, and
   * when more than 10,000 events wait to be read.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<AnyEvent<Events>, void, undefined> {
    const events: ReceivedEvent[] = [];
    const queue = { full: false };
    let wake = (): void => undefined;
    const reader = (event: ReceivedEvent | undefined): void => {
      if (events.length >= MOST_QUEUED) queue.full = true;
      else if (event !== undefined) events.push(event);
      wake();
    };
    this.#readers.add(reader);
    try {
      for (;;) {
        for (let event = events.shift(); event !== undefined; event = events.shift()) {
          // The server sends the data that `Events` names.
          yield event as unknown as AnyEvent<Events>;
        }
        if (queue.full) throw new Error(`more than ${MOST_QUEUED} events waited; read faster`);
        const state = this.#state;
        if (state.kind === 'closed') {
          if (state.message !== undefined) throw new Error(state.message);
          return;
        }
        await new Promise<void>(resolve => (wake = resolve));
      }
    } finally {
      this.#readers.delete(reader);
    }
  }

  #onBlock(block: Block): Handled {
    // What was delivered before was handled then.
    if (!this.#moves(block)) return [block];
    const { event: name, data: text } = block;
    if (text === undefined || name === 'sse.position') return undefined;
    const { parse = parseJson } = this.#options;
    let data: unknown;
    const parsed = this.#guard(() => (data = isLibraryEvent(name) ? parseJson(text) : parse(text, name)));
    if (!parsed) return undefined;
    const event = { event: name, data, lastEventId: this.#lastEventId };
    const results: unknown[] = [...this.#readers].map(reader => reader(event));
    const listeners = [...(this.#listeners.get(name) ?? [])];
    const handled = listeners.filter(listener =>
      this.#guard(() => results.push(listener(data as never, event as never))),
    );
    return handled.length < listeners.length ? undefined : results;
  }

  /**
   * Moves the last id. Returns false for an entry of the log that was delivered before: ids of one epoch grow, unless the
   * server says that this client is ahead of the log.
   */
  #moves({ event, data, id }: Block): boolean {
    if (id === undefined) return true;
    const known = (compareIds(id, this.#lastEventId) ?? 1) <= 0;
    if (!known || (event === 'sse.reset' && factsIn(data).reason === 'AHEAD')) this.#lastEventId = id || undefined;
    return !known || isLibraryEvent(event);
  }

  #onState(state: StreamState): void {
    if (this.#state.kind === 'closed') return;
    this.#state = state;
    for (const listener of [...this.#stateListeners]) this.#guard(() => listener(state));
    if (state.kind !== 'closed') return;
    this.#leavePage();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#keep();
    for (const reader of this.#readers) reader(undefined);
    this.#resolveClosed(state);
  }

  #end(reason: string): void {
    this.#feed.close();
    this.#onState({ kind: 'closed', reason });
  }

  /** Runs code of the application, whose failure must not end the stream. Returns whether it succeeded. */
  #guard(run: () => void): boolean {
    try {
      run();
      return true;
    } catch (error) {
      (this.#options.onError ?? reportUncaught)(error);
      return false;
    }
  }

  #keep(): void {
    const id = this.#lastEventId;
    if (this.#options.resume === undefined || id === undefined) return;
    // The storage may be full or forbidden; the stream goes on without.
    this.#guard(() => sessionStorage.setItem(this.#storageKey, id));
  }
}

/** As the error of a listener that has no caller. */
export function reportUncaught(error: unknown): void {
  setTimeout(() => {
    throw error;
  });
}
