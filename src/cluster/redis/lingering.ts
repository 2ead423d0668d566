/** Topics that lost their last subscriber, each kept for a while: a client that comes back finds its topic followed. */
export class LingeringTopics {
  /** When the time of each topic is over, by the monotonic clock; the oldest first. */
  readonly #until = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  /** @param onOver the time of these topics is over */
  constructor(private readonly onOver: (topics: readonly string[]) => void) {}

  /** Keeps a topic for so many milliseconds, the same for all topics. */
  add(topic: string, ms: number): void {
    this.#until.set(topic, performance.now() + ms);
    this.#plan();
  }

  /** The topic has a subscriber again, or is forgotten. */
  delete(topic: string): void {
    this.#until.delete(topic);
  }

  /** Ends the timer. Twice is harmless. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#until.clear();
  }

  #plan(): void {
    const [first] = this.#until.values();
    if (this.#timer !== undefined || first === undefined) return;
    const onTime = (): void => {
      this.#timer = undefined;
      const now = performance.now();
      const over: string[] = [];
      for (const [topic, until] of this.#until) {
        if (until > now) break;
        over.push(topic);
      }
      for (const topic of over) this.#until.delete(topic);
      this.onOver(over);
      this.#plan();
    };
    this.#timer = setTimeout(onTime, Math.ceil(Math.max(1, first - performance.now()))).unref();
  }
}
