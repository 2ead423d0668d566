import { TextDecoder } from 'node:util';
import type { SseEvent } from '../contracts/sse-event.js';

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
