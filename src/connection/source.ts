import { Readable } from 'node:stream';
import { TextDecoder } from 'node:util';
import type { SseEvent } from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import type { ConnectionEnvironment } from './environment.js';
import type { TurnBudget } from './scheduler.js';

/** An object that accepts an observer, as in RxJS and the TC39 proposal. */
interface ObservableLike {
  subscribe(observer: {
    next(value: unknown): void;
    error(error: unknown): void;
    complete(): void;
  }): { unsubscribe(): void } | (() => void) | undefined;
}

/** A source that yields its next item on request. */
interface PullSource {
  readonly kind: 'pull';
  next(): Promise<IteratorResult<unknown>> | IteratorResult<unknown>;
  /** Ends the source early; `next` is not called again. */
  cancel(): unknown;
  /** Rejects when the source fails, also while nothing asks it for an item. */
  readonly failed?: Promise<never>;
}

/** A source that decides by itself when it emits an item. */
interface PushSource {
  readonly kind: 'push';
  /** Begins; returns a function that ends the source early. */
  subscribe(next: (item: unknown) => void, error: (error: unknown) => void, complete: () => void): () => void;
}

/**
 * Anything a handler may return as a source of events: an async iterable, an iterable, a Node `Readable`, a web
 * `ReadableStream`, or something with `subscribe`.
 * @throws SseError `INVALID_SOURCE`
 */
export function sourceOf(value: unknown): PullSource | PushSource {
  if (value instanceof Readable) return fromReadable(value);
  if (value instanceof ReadableStream) return fromReader(value.getReader());
  if (typeof value === 'object' && value !== null) {
    if (Symbol.asyncIterator in value) return fromIterator((value as AsyncIterable<unknown>)[Symbol.asyncIterator]());
    if (Symbol.iterator in value) return fromIterable((value as Iterable<unknown>)[Symbol.iterator]());
    if ('subscribe' in value && typeof value.subscribe === 'function') return fromObservable(value as ObservableLike);
  }
  throw new SseError(
    'INVALID_SOURCE',
    'a source must be an async iterable, an iterable object, a Readable, a ReadableStream or have subscribe(), ' +
      `got ${value === null ? 'null' : typeof value}; return nothing to only hold the connection open`,
  );
}

function fromIterator(iterator: AsyncIterator<unknown>): PullSource {
  return { kind: 'pull', next: () => iterator.next(), cancel: () => iterator.return?.() };
}

/** Promises among the items are awaited, as `for await` does. */
function fromIterable(iterator: Iterator<unknown>): PullSource {
  const cancel = (): unknown => iterator.return?.();
  const settled = async (value: PromiseLike<unknown>): Promise<IteratorResult<unknown>> => {
    try {
      return { done: false, value: await value };
    } catch (error) {
      cancel();
      throw error;
    }
  };
  const next = (): Promise<IteratorResult<unknown>> | IteratorResult<unknown> => {
    const result = iterator.next();
    return result.done === true || !isPromise(result.value) ? result : settled(result.value);
  };
  return { kind: 'pull', next, cancel };
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

function fromReadable(readable: Readable): PullSource {
  const iterator = readable[Symbol.asyncIterator]();
  let cancelled = false;
  // The iterator listens for errors only from its first `next` until its end.
  const failed = new Promise<never>((_, reject) => readable.on('error', reject));
  failed.catch(() => undefined);
  return {
    kind: 'pull',
    failed,
    next: async () => {
      try {
        return await iterator.next();
      } catch (error) {
        // Destroying the stream fails a pending read. A failure of the stream is reported by `cancel`.
        if (cancelled) return { done: true, value: undefined };
        throw error;
      }
    },
    // The iterator's `return` waits for the pending read, `destroy` does not.
    cancel: () => {
      cancelled = true;
      if (readable.closed) return undefined;
      const closed = new Promise(resolve => readable.once('close', resolve));
      readable.destroy();
      return Promise.race([failed, closed]);
    },
  };
}

function fromReader(reader: ReadableStreamDefaultReader<unknown>): PullSource {
  return {
    kind: 'pull',
    next: async () => {
      const { done, value } = await reader.read();
      return done ? { done, value: undefined } : { done, value };
    },
    cancel: () => reader.cancel(),
  };
}

function fromObservable(observable: ObservableLike): PushSource {
  return {
    kind: 'push',
    subscribe: (next, error, complete) => {
      const subscription = observable.subscribe({ next, error, complete });
      return typeof subscription === 'function' ? subscription : () => subscription?.unsubscribe();
    },
  };
}

const EVENT_KEYS: ReadonlySet<string> = new Set(['event', 'data', 'id', 'retry']);

/**
 * Turns the items of a source into events. An object with `data` and no keys but `event`, `data`, `id` and `retry` is an
 * event. Bytes are UTF-8 text: a character that is cut between two items is joined again, an incomplete one at the end is
 * left out. Any other item is the data of a `message`.
 */
export class SourceItemReader {
  #decoder: TextDecoder | undefined;

  /** The event of an item; `undefined` for bytes that complete no character. */
  read(item: unknown): SseEvent | undefined {
    if (item instanceof Uint8Array) {
      this.#decoder ??= new TextDecoder('utf-8', { ignoreBOM: true });
      const data = this.#decoder.decode(item, { stream: true });
      return data === '' ? undefined : { data };
    }
    return isEvent(item) ? item : { data: item };
  }
}

function isEvent(item: unknown): item is SseEvent {
  return (
    typeof item === 'object' &&
    item !== null &&
    Object.hasOwn(item, 'data') &&
    Object.keys(item).every(key => EVENT_KEYS.has(key))
  );
}

/** A connection as the target of a pump. The events of one tick leave in one write. */
export class SourceTarget implements PumpTarget {
  readonly signal: AbortSignal;
  readonly turns: TurnBudget;
  readonly #reader = new SourceItemReader();

  constructor(
    private readonly connection: LocalConnection,
    private readonly environment: ConnectionEnvironment,
    private readonly onId: (id: string) => void,
  ) {
    this.signal = connection.signal;
    this.turns = environment.turns;
  }

  drained(): Promise<void> {
    return this.connection.drained();
  }

  accept(item: unknown): void {
    const read = this.#reader.read(item);
    if (read === undefined) return;
    const { event = 'message', data, ...options } = read;
    const { encoder, events } = this.environment;
    const { outcome } = this.connection.enqueue(encoder.encode(event, data, options));
    if (options.id !== undefined) this.onId(options.id);
    events.sent('source', event, outcome);
  }

  onLateFailure(error: unknown): void {
    const { id: connectionId } = this.connection;
    this.environment.logger.debug('a source failed after it was cancelled', { connectionId, error });
  }
}

/** The receiver of the items that a pump moves. */
export interface PumpTarget {
  /** Aborts when the target accepts no more items. */
  readonly signal: AbortSignal;
  /** The time of a turn that all sources of the process share. */
  readonly turns: TurnBudget;
  /** Resolves when the client can accept more, or the connection has stopped. */
  drained(): Promise<void>;
  /** Sends one item. Throws when the item cannot be an event. */
  accept(item: unknown): void;
  /** Called when a source fails after it was cancelled. */
  onLateFailure(error: unknown): void;
}

/**
 * Moves the items of a source to a target until the source ends or the target's signal aborts; then cancels the source.
 * A pull source is asked for its next item only when the client can accept it, and the present turn of the event loop has
 * time left for sources. Rejects when the source fails.
 */
export async function pump(source: PullSource | PushSource, target: PumpTarget): Promise<void> {
  let onAbort: () => void = () => undefined;
  const stopped = new Promise<void>(resolve => {
    onAbort = resolve;
    target.signal.addEventListener('abort', onAbort, { once: true });
    if (target.signal.aborted) resolve();
  });
  try {
    await (source.kind === 'pull' ? pull(source, target, stopped) : push(source, target, stopped));
  } finally {
    target.signal.removeEventListener('abort', onAbort);
  }
}

async function pull(source: PullSource, target: PumpTarget, stopped: Promise<void>): Promise<void> {
  const running = run(source, target);
  // One race for the whole run, so that a source that waits does not keep the pump of a closed connection alive.
  const ends: Promise<unknown>[] = [running, stopped];
  if (source.failed !== undefined) ends.push(source.failed);
  if ((await Promise.race(ends)) === 'ended') return;
  running.catch((error: unknown) => target.onLateFailure(error));
  void cancelQuietly(() => source.cancel(), target);
}

/** Resolves when the source has ended by itself, or the connection has stopped. */
async function run(source: PullSource, target: PumpTarget): Promise<'ended' | 'stopped'> {
  const { turns } = target;
  for (;;) {
    await target.drained();
    if (isAborted(target)) return 'stopped';
    // Asked last, since the other sources are asked at the same time.
    if (turns.over) {
      await turns.next();
      continue;
    }
    const result = await source.next();
    if (result.done === true) return 'ended';
    // Other events may have filled the client's send buffer meanwhile.
    await target.drained();
    if (isAborted(target)) return 'stopped';
    try {
      target.accept(result.value);
    } catch (error) {
      void cancelQuietly(() => source.cancel(), target);
      throw error;
    }
  }
}

function isAborted({ signal }: PumpTarget): boolean {
  return signal.aborted;
}

/** Cancels a source. Callers do not wait, since the source itself may be waiting. Never rejects. */
async function cancelQuietly(cancel: () => unknown, target: PumpTarget): Promise<void> {
  try {
    await cancel();
  } catch (error) {
    target.onLateFailure(error);
  }
}

async function push(source: PushSource, target: PumpTarget, stopped: Promise<void>): Promise<void> {
  if (target.signal.aborted) return;
  let unsubscribe: () => void = () => undefined;
  const completed = new Promise<void>((resolve, reject) => {
    let over = false;
    const complete = (): void => {
      over = true;
      resolve();
    };
    const fail = (error: unknown): void => {
      if (over || target.signal.aborted) target.onLateFailure(error);
      over = true;
      reject(asError(error));
    };
    // A source that emits within `subscribe` cannot be unsubscribed before `subscribe` returns.
    const next = (item: unknown): void => {
      if (over || target.signal.aborted) return;
      try {
        target.accept(item);
      } catch (error) {
        fail(error);
      }
    };
    unsubscribe = source.subscribe(next, fail, complete);
  });
  try {
    await Promise.race([completed, stopped]);
  } finally {
    void cancelQuietly(unsubscribe, target);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error
    ? error
    : new Error('a source failed with something that is no Error', { cause: error });
}
