/** What a probe needs of its subscriber. */
export interface ProbeTarget {
  /** Publishes to the subscriber itself, on the way that all messages take. */
  publish(): Promise<unknown>;
  /** The subscriber hears nothing although publishing works. */
  onDeaf(): void;
}

/** How often, at most, a window is doubled in effect. */
const MOST_STRETCH = 10;

/**
 * Finds a subscription that looks healthy and is dead, as after a failover. Each window it publishes to the subscriber;
 * when that succeeded and the next window ends without any message, the subscriber is deaf: at most two windows after it
 * became so. While publishing fails, nothing is concluded. Each verdict doubles the window, to ten times, until something
 * is heard.
 */
export class LivenessProbe {
  #timer: NodeJS.Timeout | undefined;
  #life = 0;
  #state: 'heard' | 'quiet' | 'published' = 'heard';
  #stretch = 1;

  constructor(
    private readonly target: ProbeTarget,
    private readonly windowMs: number,
  ) {}

  /** Begins a life of the subscriber. */
  start(): void {
    this.stop();
    this.#state = 'heard';
    this.#next();
  }

  /** To be called with every message. */
  heard(): void {
    this.#state = 'heard';
    this.#stretch = 1;
  }

  /** Ends it; twice is harmless. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#life += 1;
  }

  #next(): void {
    this.#timer = setTimeout(() => {
      this.#tick();
    }, this.windowMs * this.#stretch).unref();
  }

  #tick(): void {
    if (this.#state === 'published') {
      this.stop();
      this.#stretch = Math.min(this.#stretch * 2, MOST_STRETCH);
      this.target.onDeaf();
      return;
    }
    this.#state = 'quiet';
    const life = this.#life;
    this.target.publish().then(
      () => {
        // The message itself may have been quicker, or the subscriber's life may be over.
        if (life === this.#life && this.#state === 'quiet') this.#state = 'published';
      },
      () => undefined,
    );
    this.#next();
  }
}
