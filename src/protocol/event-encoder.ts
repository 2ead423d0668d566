import type { Frame } from '../contracts/frame.js';
import type { EventOptions } from '../contracts/sse-event.js';
import { SseError, type SseErrorCode } from '../errors/sse-error.js';
import { encodeEvent } from './encode-event.js';
import { serializeData } from './serialize-data.js';
import { checkEventName } from './text-rules.js';

/** An event that can be sent, or the code of the refusal that a receipt is to carry. */
export type PreparedEvent = { readonly frame: Frame } | { readonly refused: SseErrorCode };

/** Turns what an application sends into a frame, once, whatever the number of receivers. */
export class EventEncoder {
  constructor(private readonly maxEventBytes: number) {}

  /**
   * @throws SseError `INVALID_EVENT_NAME`, `INVALID_EVENT_ID`, `INVALID_RETRY`, `NOT_SERIALIZABLE`, and
   * `EVENT_TOO_LARGE` when the data is longer than `limits.maxEventBytes` bytes of UTF-8.
   */
  encode(event: string, data: unknown, options: EventOptions = {}): Frame {
    checkEventName(event);
    const text = serializeData(data);
    const size = Buffer.byteLength(text);
    if (size > this.maxEventBytes) {
      throw new SseError(
        'EVENT_TOO_LARGE',
        `data must be at most ${this.maxEventBytes} bytes (limits.maxEventBytes), got ${size}; send a reference to it`,
      );
    }
    return { bytes: encodeEvent({ event, data: text, id: options.id, retry: options.retry }) };
  }

  /** As {@link encode}, but data that is too large is refused by its code: senders are told by a receipt. */
  prepare(event: string, data: unknown, options?: EventOptions): PreparedEvent {
    try {
      return { frame: this.encode(event, data, options) };
    } catch (error) {
      if (SseError.is(error, 'EVENT_TOO_LARGE')) return { refused: error.code };
      throw error;
    }
  }
}
