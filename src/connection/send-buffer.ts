import type { Frame } from '../contracts/events.js';

const COMPACT_AT = 1024;

/**
 * Frames that wait for one slow or opening client, first in, first out, counted in the process budget. A part of the first
 * frame may have left already. That frame cannot be dropped, since the client would see half an event. What a full buffer
 * costs is decided by the `FrameWriter`. Every call takes the same time, however many frames wait.
 */
export class SendBuffer {
  #frames: (Frame | undefined)[] = [];
  #head = 0;
  #headOffset = 0;
  #bytes = 0;

  /** @param holder pays when the bytes of the process do not fit */
  constructor(
    private readonly budget: SendBufferBudget,
    private readonly holder: BudgetHolder,
  ) {}

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
    if (this.#head === 0) {
      this.#frames.splice(this.#firstWhole, 0, frame);
    } else {
      // A frame was dropped before, so there is room in front.
      this.#head -= 1;
      if (this.#headOffset > 0) this.#frames[this.#head] = this.#frames[this.#head + 1];
      this.#frames[this.#firstWhole] = frame;
    }
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

  /** Removes and returns the newest frame, unless a part of it has left. */
  dropNewest(): Frame | undefined {
    if (this.#frames.length === this.#firstWhole) return undefined;
    const frame = this.#frames.pop();
    if (frame !== undefined) this.#count(-frame.bytes.length);
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
    this.budget.add(bytes, this.holder);
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

/** A connection as the budget sees it. */
export interface BudgetHolder {
  /** Counts anew what can change without a call: the bytes in its socket's own buffer. */
  recount(): void;
  /** Gives up so many of its bytes, or all it can if it has fewer. */
  pay(bytes: number): void;
}

/** Bytes that wait for clients in the whole process, against one bound. When it is full, the largest holder pays. */
export class SendBufferBudget {
  #used = 0;
  readonly #holders = new Map<BudgetHolder, number>();

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
  add(bytes: number, holder: BudgetHolder): void {
    if (bytes === 0) return;
    this.#used += bytes;
    const held = (this.#holders.get(holder) ?? 0) + bytes;
    if (held === 0) this.#holders.delete(holder);
    else this.#holders.set(holder, held);
  }

  /**
   * Makes room for so many bytes of a holder at the cost of those that hold more. Returns false when there is none: the
   * holder itself has to pay.
   */
  makeRoom(bytes: number, holder: BudgetHolder): boolean {
    const own = (): number => (this.#holders.get(holder) ?? 0) + bytes;
    while (!this.admits(bytes)) {
      const largest = this.#largest();
      if (largest === undefined || largest.holder === holder || largest.bytes <= own()) return this.admits(bytes);
      if (!this.#charge(largest.holder, bytes)) return false;
    }
    return true;
  }

  /** Brings the bytes back within the bound, after some that no call could refuse. */
  enforce(): void {
    while (!this.admits(0)) {
      const largest = this.#largest();
      if (largest === undefined || !this.#charge(largest.holder, 0)) return;
    }
  }

  /** Returns whether the holder paid anything. */
  #charge(holder: BudgetHolder, bytes: number): boolean {
    const before = this.#used;
    if (!this.admits(bytes)) holder.pay(before + bytes - this.limit);
    return this.#used < before || this.admits(bytes);
  }

  #largest(): { readonly holder: BudgetHolder; readonly bytes: number } | undefined {
    for (const holder of this.#holders.keys()) holder.recount();
    let largest: BudgetHolder | undefined;
    let most = 0;
    for (const [holder, bytes] of this.#holders) if (bytes > most) [largest, most] = [holder, bytes];
    return largest && { holder: largest, bytes: most };
  }
}
