interface Named {
  readonly name: string;
}

/** How many there are of each name. */
export class NameCounts {
  readonly #counts = new Map<string, number>();

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  /** One more of each of these names. */
  add(names: readonly Named[]): void {
    for (const { name } of names) this.#counts.set(name, this.of(name) + 1);
  }

  /** One fewer of each of these names, which were added before. */
  remove(names: readonly Named[]): void {
    for (const { name } of names) {
      const left = this.of(name) - 1;
      if (left > 0) this.#counts.set(name, left);
      else this.#counts.delete(name);
    }
  }
}

/** Names that are counted at once. Beyond it further ones are not: an attack must not take the memory of the node. */
const MOST_NAMES = 100_000;
const MINUTE_MS = 60_000;

/** How much of something each name had within the last minute, about: the minute before counts by the part that is left of it. */
export class MinuteCounts {
  #present = new Map<string, number>();
  #former = new Map<string, number>();
  #since = performance.now();

  of(name: string): number {
    const left = 1 - this.#turn() / MINUTE_MS;
    return (this.#present.get(name) ?? 0) + (this.#former.get(name) ?? 0) * left;
  }

  add(name: string, amount: number): void {
    this.#turn();
    const former = this.#present.get(name);
    if (former !== undefined || this.#present.size < MOST_NAMES) this.#present.set(name, (former ?? 0) + amount);
  }

  /** Begins a new minute where one is over. Returns the milliseconds since the present one began. */
  #turn(): number {
    const elapsed = performance.now() - this.#since;
    if (elapsed < MINUTE_MS) return elapsed;
    this.#former = elapsed < 2 * MINUTE_MS ? this.#present : new Map<string, number>();
    this.#present = new Map();
    this.#since += Math.floor(elapsed / MINUTE_MS) * MINUTE_MS;
    return elapsed % MINUTE_MS;
  }
}
