import type { CommandRequest } from '../wire/command-frame.js';

/** Milliseconds that two nodes' ideas of Redis' clock may differ. */
const SLACK = 10_000;
const MAX_REMEMBERED = 10_000;

/**
 * Lets each request in once, and only while whoever asked may still wait: a node that stalled does not carry out what was
 * given up long ago, and a frame that somebody recorded does nothing when it is sent again, signed or not.
 */
export class RequestGuard {
  /** Requests that were let in, by id, oldest first, with the time until which they would be again. */
  readonly #known = new Map<string, number>();

  /** @param clock Redis' clock in milliseconds, as far as known */
  constructor(private readonly clock: () => number | undefined) {}

  admits({ id, at, deadline }: Pick<CommandRequest, 'id' | 'at' | 'deadline'>): boolean {
    const now = this.clock() ?? at;
    const until = at + deadline + SLACK;
    if (at > now + SLACK || until < now || this.#known.has(id)) return false;
    for (const [old, end] of this.#known) {
      if (end >= now && this.#known.size < MAX_REMEMBERED) break;
      this.#known.delete(old);
    }
    this.#known.set(id, until);
    return true;
  }
}
