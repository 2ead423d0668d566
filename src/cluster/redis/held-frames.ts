const MAX_FRAMES = 10_000;
const MAX_BYTES = 64 * 1024 * 1024;

/** What waits while the log is read. Bounded: when it is too much everything is let go, and the log read once more. */
export class HeldFrames<T> {
  #frames: T[] = [];
  #bytes = 0;
  #overflowed = false;

  /** Frames that wait. */
  get size(): number {
    return this.#frames.length;
  }

  /** Whether something was let go since {@link forgive}. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  add(frame: T, bytes: number): void {
    if (this.#frames.length >= MAX_FRAMES || this.#bytes + bytes > MAX_BYTES) {
      this.clear();
      this.#overflowed = true;
    }
    if (this.#overflowed) return;
    this.#frames.push(frame);
    this.#bytes += bytes;
  }

  /** Everything that waits, which does not wait here any more. */
  take(): readonly T[] {
    const frames = this.#frames;
    this.clear();
    return frames;
  }

  clear(): void {
    this.#frames = [];
    this.#bytes = 0;
  }

  /** The log is read from here on, so what was let go does not matter any more. */
  forgive(): void {
    this.#overflowed = false;
  }
}
