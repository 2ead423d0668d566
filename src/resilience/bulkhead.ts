/** A call that waits for its turn. */
interface Waiter {
  /** Its turn has come. */
  begin(): void;
}

/** A waiter in the line; linked both ways, so that one in the middle can go at no cost. */
interface Place {
  readonly waiter: Waiter;
  previous: Place | undefined;
  next: Place | undefined;
  left: boolean;
}

/**
 * Lets so many calls run at once and so many more wait, first come, first served: nobody who comes later overtakes one
 * that waits.
 */
export class Bulkhead {
  #running = 0;
  #waiting = 0;
  #first: Place | undefined;
  #last: Place | undefined;

  constructor(
    private readonly concurrency: number,
    private readonly queue: number,
  ) {}

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Whether a call may run now; if so, it must {@link leave} when it is over. */
  enter(): boolean {
    if (this.#running >= this.concurrency) return false;
    this.#running += 1;
    return true;
  }

  /**
   * Lines up a call that could not enter. Its `begin` is called when it may run, and it must {@link leave} then. Returns
   * what takes it out of the line, or `undefined` when the line is full.
   */
  lineUp(waiter: Waiter): (() => void) | undefined {
    if (this.#waiting >= this.queue) return undefined;
    const place: Place = { waiter, previous: this.#last, next: undefined, left: false };
    if (this.#last === undefined) this.#first = place;
    else this.#last.next = place;
    this.#last = place;
    this.#waiting += 1;
    return () => this.#remove(place);
  }

  /** A call is over; the next in line takes its place at once. */
  leave(): void {
    const next = this.#first;
    if (next === undefined) {
      this.#running -= 1;
      return;
    }
    this.#remove(next);
    next.waiter.begin();
  }

  #remove(place: Place): void {
    if (place.left) return;
    place.left = true;
    const { previous, next } = place;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    this.#waiting -= 1;
  }
}
