import { TextDecoder } from 'node:util';
import type { SseEvent } from '../contracts/sse-event.js';

const EVENT_KEYS: ReadonlySet<string> = new Set(['event', 'data', 'id', 'retry']);

/**
 * Reads what sources yield. An object with `data` and no keys but `event`, `data`, `id` and `retry` is an event; bytes are
 * UTF-8 text, put together again where a character was cut; anything else is the data of a `message`.
 */
export class SourceItemReader {
  #decoder: TextDecoder | undefined;

  read(item: unknown): SseEvent {
    if (item instanceof Uint8Array) {
      this.#decoder ??= new TextDecoder('utf-8', { ignoreBOM: true });
      return { data: this.#decoder.decode(item, { stream: true }) };
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
