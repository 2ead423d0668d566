import type { Frame } from '../contracts/events.js';

const COMPACT_AT = 1024;

/**
 * Frames that wait for one slow or opening client, first in, first out, counted in the process budget. A part of the first
 * frame may have left already. That frame cannot be dropped, since the client would see half an event. What a full buffer
 * costs is decided by the `FrameWriter`.
 */
export class SendBuffer {
  #frames: (Frame | undefined)[] = [];
  #head = 0;
  #headOffset = 0;
  #bytes = 0;

  constructor(private readonly budget: SendBufferBudget) {}

  /** Bytes waiting. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes of the frames of which no part has left. */
  get droppable(): number {
    if (this.#headOffset === 0) return this.#bytes;
    const head = this.#frames[this.#head]?.bytes.length ?? 0;
    return this.#bytes - (head - this.#headOffset);
  }

  get empty(): boolean {
    return this.#head === this.#frames.length;
  }

  push(frame: Frame): void {
    this.#frames.push(frame);
    this.#count(frame.bytes.length);
  }

  /** Puts a frame before all frames of which no part has left. */
  pushFirst(frame: Frame): void {
    this.#frames.splice(this.#firstWhole, 0, frame);
    this.#count(frame.bytes.length);
  }

  /** Removes and returns the oldest frame of which no part has left. */
  dropOldest(): Frame | undefined {
    const index = this.#firstWhole;
    const frame = this.#frames[index];
    if (frame === undefined) return undefined;
    if (index !== this.#head) this.#frames[index] = this.#frames[this.#head];
    this.#frames[this.#head] = undefined;
    this.#head += 1;
    this.#count(-frame.bytes.length);
    this.#compact();
    return frame;
  }

  /** Removes and returns up to `limit` bytes from the front, at least one. Joins or cuts frames as needed. */
  shiftBytes(limit: number): Buffer {
    const parts: Buffer[] = [];
    let length = 0;
    while (!this.empty && length < limit) {
      const part = this.#shiftPart(limit - length);
      parts.push(part);
      length += part.length;
    }
    this.#count(-length);
    this.#compact();
    return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts, length);
  }

  clear(): void {
    this.#count(-this.#bytes);
    this.#frames = [];
    this.#head = 0;
    this.#headOffset = 0;
  }

  /** Index of the oldest frame of which no part has left. */
  get #firstWhole(): number {
    return this.#headOffset > 0 ? this.#head + 1 : this.#head;
  }

  #shiftPart(limit: number): Buffer {
    const bytes = this.#frames[this.#head]?.bytes ?? Buffer.alloc(0);
    const rest = bytes.length - this.#headOffset;
    if (rest > limit) {
      const part = bytes.subarray(this.#headOffset, this.#headOffset + limit);
      this.#headOffset += limit;
      return part;
    }
    const part = this.#headOffset === 0 ? bytes : bytes.subarray(this.#headOffset);
    this.#frames[this.#head] = undefined;
    this.#head += 1;
    this.#headOffset = 0;
    return part;
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.budget.add(bytes);
  }

  #compact(): void {
    if (this.empty) {
      this.#frames = [];
      this.#head = 0;
    } else if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#frames.length) {
      this.#frames = this.#frames.slice(this.#head);
      this.#head = 0;
    }
  }
}

/** Bytes that wait for slow clients in the whole process, against one bound. */
export class SendBufferBudget {
  #used = 0;

  /** @param limit `sendBuffer.maxTotalBytes` */
  constructor(readonly limit: number) {}

  /** Bytes waiting now. */
  get used(): number {
    return this.#used;
  }

  /** Whether `bytes` more stay within the bound. */
  admits(bytes: number): boolean {
    return this.#used + bytes <= this.limit;
  }

  /** Counts bytes that began to wait; a negative number, bytes that no longer do. */
  add(bytes: number): void {
    this.#used += bytes;
  }
}
