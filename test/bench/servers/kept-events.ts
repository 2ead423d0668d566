const MOST = 1_000;

/** The newest events, as one keeps them by hand: in an array, with numbers as ids. */
export class KeptEvents<Event> {
  readonly #events: Event[] = [];
  #last = 0;

  /** Keeps what `make` makes of the next id, and returns it. */
  add(make: (id: number) => Event): Event {
    this.#last += 1;
    const event = make(this.#last);
    this.#events.push(event);
    if (this.#events.length > MOST) this.#events.shift();
    return event;
  }

  /** What came after this id, as a client sends it; nothing for one that sends none. */
  after(id: string | undefined): readonly Event[] {
    if (id === undefined || id === '') return [];
    return this.#events.slice(Math.max(0, this.#events.length - this.#last + Number(id)));
  }
}
