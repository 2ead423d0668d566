const MAX_FRAMES = 10_000;
const MAX_BYTES = 64 * 1024 * 1024;

/** The frames that arrive while the log is read. Bounded: beyond the bound all are dropped, and the log is read once more. */
export class HeldFrames<T> {
  #frames: T[] = [];
  #bytes = 0;
  #overflowed = false;

  /** How many frames are held. */
  get size(): number {
    return this.#frames.length;
  }

  /** Whether frames were dropped since {@link forgetOverflow}. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  add(frame: T, bytes: number): void {
    if (this.#frames.length >= MAX_FRAMES || this.#bytes + bytes > MAX_BYTES) this.overflow();
    if (this.#overflowed) return;
    this.#frames.push(frame);
    this.#bytes += bytes;
  }

  /** The log is to be read once more; then it has every frame that is held. */
  overflow(): void {
    this.clear();
    this.#overflowed = true;
  }

  /** Every frame; none is held any more. */
  drain(): readonly T[] {
    const frames = this.#frames;
    this.clear();
    return frames;
  }

  clear(): void {
    this.#frames = [];
    this.#bytes = 0;
  }

  /** The log is read from here on, so the frames that were dropped are read as well. */
  forgetOverflow(): void {
    this.#overflowed = false;
  }
}
