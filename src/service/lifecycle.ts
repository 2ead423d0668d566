import { SseError } from '../errors/sse-error.js';

/** The life of a node. It never goes back. */
export type Phase = 'new' | 'started' | 'draining' | 'closed';

/** Keeps the phase of a node and refuses what the phase does not allow. */
export class Lifecycle {
  #phase: Phase = 'new';
  #starting: Promise<void> | undefined;

  /** @param join joins the cluster */
  constructor(private readonly join: () => Promise<void>) {}

  get phase(): Phase {
    return this.#phase;
  }

  /** Joins the cluster once; a failure is the caller's, and the next call tries again. */
  start(): Promise<void> {
    if (this.#phase === 'started' || this.#phase === 'draining') return Promise.resolve();
    if (this.#phase === 'closed') return Promise.reject(closed());
    this.#starting ??= this.join()
      .then(() => {
        if (this.#phase === 'new') this.#phase = 'started';
      })
      .finally(() => {
        this.#starting = undefined;
      });
    return this.#starting;
  }

  drain(): void {
    if (this.#phase !== 'closed') this.#phase = 'draining';
  }

  close(): void {
    this.#phase = 'closed';
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
}

function closed(): SseError {
  return new SseError('CLOSED', 'the service was closed; load sseModule into a new container');
}
