import type { Frame } from '../contracts/frame.js';

/**
 * The frames a connection got in one tick, as an immutable list whose tail is shared: connections that got the same
 * frames hold the same `Batch`, so the list and its joined bytes are made once, whatever their number.
 */
export class Batch {
  /** The empty batch. Each scheduler has its own, since it remembers its last successor. */
  static empty(): Batch {
    return new Batch(undefined, undefined, 0);
  }

  #next: Batch | undefined;
  #joined: Buffer | undefined;

  private constructor(
    private readonly previous: Batch | undefined,
    private readonly frame: Frame | undefined,
    /** Length of all its frames. */
    readonly bytes: number,
  ) {}

  /** This batch with one more frame. The last answer is remembered: neighbours in a fan-out ask for the same. */
  append(frame: Frame): Batch {
    if (this.#next?.frame !== frame) {
      this.#next = new Batch(this, frame, this.bytes + frame.bytes.length);
    }
    return this.#next;
  }

  /** All frames in one buffer. */
  join(): Buffer {
    this.#joined ??= this.previous?.frame ? this.#concat() : (this.frame?.bytes ?? Buffer.alloc(0));
    return this.#joined;
  }

  /** Lets go of the remembered successor. */
  forget(): void {
    this.#next = undefined;
  }

  #concat(): Buffer {
    const parts = this.frame === undefined ? [] : [this.frame.bytes];
    let batch = this.previous;
    while (batch?.frame !== undefined) {
      parts.push(batch.frame.bytes);
      batch = batch.previous;
    }
    return Buffer.concat(parts.reverse(), this.bytes);
  }
}
