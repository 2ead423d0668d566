import { Readable } from 'node:stream';
import { SseError } from '../errors/sse-error.js';

/** Something that accepts an observer, as RxJS and the TC39 proposal have it. */
interface ObservableLike {
  subscribe(observer: {
    next(value: unknown): void;
    error(error: unknown): void;
    complete(): void;
  }): { unsubscribe(): void } | (() => void) | undefined;
}

/** A source that is asked for its next item. */
export interface PullSource {
  readonly kind: 'pull';
  next(): Promise<IteratorResult<unknown>> | IteratorResult<unknown>;
  /** Ends it early; `next` is not called again. */
  cancel(): unknown;
}

/** A source that decides itself when an item comes. */
export interface PushSource {
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
