import { SseError } from '../errors.js';

/** The life of a node. It never goes back. */
export type Phase = 'new' | 'started' | 'draining' | 'closed';

/** Keeps the phase of a node and refuses what the phase does not allow. */
export class Lifecycle {
  #phase: Phase = 'new';
  #joined = false;
  #joining: Promise<void> | undefined;

  /** @param join joins the cluster */
  constructor(private readonly join: () => Promise<void>) {}

  get phase(): Phase {
    return this.#phase;
  }

  /** Whether the node has joined the cluster, and so has something to leave. */
  get joined(): boolean {
    return this.#joined;
  }

  /** Joins the cluster once; a failure is the caller's, and the next call tries again. */
  start(): Promise<void> {
    if (this.#phase === 'closed') return Promise.reject(closed());
    if (this.#joined) return Promise.resolve();
    this.#joining ??= this.#join();
    return this.#joining;
  }

  drain(): void {
    if (this.#phase !== 'closed') this.#phase = 'draining';
  }

  close(): void {
    this.#phase = 'closed';
  }

  /** Resolves when nobody is joining: a coordinator is not closed while it starts. Never rejects. */
  async settled(): Promise<void> {
    try {
      await this.#joining;
    } catch {
      // Told to whoever asked to start.
    }
  }

  /** @throws SseError `CLOSED` */
  assertOpen(): void {
    if (this.#phase === 'closed') throw closed();
  }

  /** @throws SseError `CLOSED`, `DRAINING` */
  assertAccepting(): void {
    this.assertOpen();
    if (this.#phase === 'draining') {
      throw new SseError(
        'DRAINING',
        'this node is going away and takes no new connections; connect again and reach another one',
      );
    }
  }

  async #join(): Promise<void> {
    try {
      await this.join();
      this.#joined = true;
      this.assertOpen();
      if (this.#phase === 'new') this.#phase = 'started';
    } finally {
      this.#joining = undefined;
    }
  }
}

function closed(): SseError {
  return new SseError('CLOSED', 'the service was closed; load sseModule into a new container');
}
