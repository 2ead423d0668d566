import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { TextDecoder } from 'node:util';
import type { SseEvent } from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import type { ConnectionEnvironment } from './environment.js';

/** Something that accepts an observer, as RxJS and the TC39 proposal have it. */
interface ObservableLike {
  subscribe(observer: {
    next(value: unknown): void;
    error(error: unknown): void;
    complete(): void;
  }): { unsubscribe(): void } | (() => void) | undefined;
}

/** A source that is asked for its next item. */
interface PullSource {
  readonly kind: 'pull';
  next(): Promise<IteratorResult<unknown>> | IteratorResult<unknown>;
  /** Ends it early; `next` is not called again. */
  cancel(): unknown;
}

/** A source that decides itself when an item comes. */
interface PushSource {
  readonly kind: 'push';
  /** Begins; returns what ends it early. */
  subscribe(
    next: (item: unknown) => void,
    error: (error: unknown) => void,
    complete: () => void,
  ): () => void;
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
    if (Symbol.asyncIterator in value) {
      return fromIterator((value as AsyncIterable<unknown>)[Symbol.asyncIterator]());
    }
    if (Symbol.iterator in value) {
      return fromIterator((value as Iterable<unknown>)[Symbol.iterator]());
    }
    if ('subscribe' in value && typeof value.subscribe === 'function') {
      return fromObservable(value as ObservableLike);
    }
  }
  throw new SseError(
    'INVALID_SOURCE',
    'a source must be an async iterable, an iterable object, a Readable, a ReadableStream or have subscribe(), ' +
      `got ${value === null ? 'null' : typeof value}; return nothing to only hold the connection open`,
  );
}

function fromIterator(iterator: AsyncIterator<unknown> | Iterator<unknown>): PullSource {
  return {
    kind: 'pull',
    next: () => iterator.next(),
    cancel: () => iterator.return?.(),
  };
}

function fromReadable(readable: Readable): PullSource {
  const iterator = readable[Symbol.asyncIterator]();
  let cancelled = false;
  return {
    kind: 'pull',
    next: async () => {
      try {
        return await iterator.next();
      } catch (error) {
        // A pending read fails when the stream is destroyed under it, which is no failure of the stream.
        if (cancelled && readable.errored === null) return { done: true, value: undefined };
        throw error;
      }
    },
    // Its iterator would wait for the pending read before it returns; destroying it does not.
    cancel: () => {
      cancelled = true;
      readable.destroy();
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
      return typeof subscription === 'function'
        ? subscription
        : () => {
            subscription?.unsubscribe();
          };
    },
  };
}

const EVENT_KEYS: ReadonlySet<string> = new Set(['event', 'data', 'id', 'retry']);

/**
 * Reads what sources yield. An object with `data` and no keys but `event`, `data`, `id` and `retry` is an event; bytes are
 * UTF-8 text, put together again where a character was cut (one that is never completed is left out); anything else is
 * the data of a `message`.
 */
export class SourceItemReader {
  #decoder: TextDecoder | undefined;

  /** The event that an item is; `undefined` for bytes that complete no character. */
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

/** A connection as the target of a pump: items become events, joined per tick. */
export class SourceTarget implements PumpTarget {
  readonly signal: AbortSignal;
  readonly #reader = new SourceItemReader();

  constructor(
    private readonly connection: LocalConnection,
    private readonly environment: ConnectionEnvironment,
  ) {
    this.signal = connection.signal;
  }

  drained(): Promise<void> {
    return this.connection.drained();
  }

  take(item: unknown): void {
    const read = this.#reader.read(item);
    if (read === undefined) return;
    const { event = 'message', data, ...options } = read;
    const { encoder, events } = this.environment;
    const { outcome } = this.connection.enqueue(encoder.encode(event, data, options));
    events.sent('source', event, outcome);
  }

  onLateFailure(error: unknown): void {
    this.environment.logger.debug('a source failed after it was given up', {
      connectionId: this.connection.id,
      error,
    });
  }
}

/** Where a pump puts events. */
export interface PumpTarget {
  /** Aborts when nothing is taken any more. */
  readonly signal: AbortSignal;
  /** Resolves when the client can take more, or the connection has stopped. */
  drained(): Promise<void>;
  /** Takes one item of the source. Throws when it cannot be an event. */
  take(item: unknown): void;
  /** Is told of failures of a source that was given up before. */
  onLateFailure(error: unknown): void;
}

// How long a source that always has its next item ready may keep the event loop to itself.
const TURN_MS = 10;

/**
 * Moves a source's items to a connection until the source ends or the connection stops, whichever is first; then cancels
 * the source. A pull source is asked for its next item only when the client can take it. Rejects when the source fails.
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
  // One race for the whole run, so that a waiting source does not keep a gone client's pump alive.
  if ((await Promise.race([running, stopped])) === 'ended') return;
  running.catch((error: unknown) => {
    target.onLateFailure(error);
  });
  void giveUp(() => source.cancel(), target);
}

/** Resolves when the source has ended by itself, or the connection has stopped. */
async function run(source: PullSource, target: PumpTarget): Promise<'ended' | 'stopped'> {
  let turnStarted = performance.now();
  for (;;) {
    await target.drained();
    if (isAborted(target)) return 'stopped';
    const result = await source.next();
    if (result.done === true) return 'ended';
    // Others write to the client as well and may have filled it meanwhile.
    await target.drained();
    if (isAborted(target)) return 'stopped';
    try {
      target.take(result.value);
    } catch (error) {
      void giveUp(() => source.cancel(), target);
      throw error;
    }
    if (performance.now() - turnStarted < TURN_MS) continue;
    await nextTurn();
    turnStarted = performance.now();
  }
}

function isAborted({ signal }: PumpTarget): boolean {
  return signal.aborted;
}

/** Cancels a source. Nobody waits for it, since a source may be waiting itself. Never rejects. */
async function giveUp(cancel: () => unknown, target: PumpTarget): Promise<void> {
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
    // It may go on until it is unsubscribed, which it cannot be while it emits within `subscribe`.
    const next = (item: unknown): void => {
      if (over || target.signal.aborted) return;
      try {
        target.take(item);
      } catch (error) {
        fail(error);
      }
    };
    unsubscribe = source.subscribe(next, fail, complete);
  });
  try {
    await Promise.race([completed, stopped]);
  } finally {
    void giveUp(unsubscribe, target);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error
    ? error
    : new Error('a source failed with something that is no Error', { cause: error });
}
