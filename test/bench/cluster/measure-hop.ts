import type { BenchClients } from '../client/bench-clients.js';
import type { Pair } from './cluster-round.js';
import { percentile, type Measured } from './figures.js';

const BLOCK = 100;
const KINDS = ['publish', 'publish-history', 'send'] as const;

/**
 * How long one event takes from one process to another, nothing else under way: from the call until the other process writes
 * to its socket, and until the client has it. With ioredis alone: until its subscriber is called. The kinds take turns in
 * blocks.
 */
export class MeasureHop {
  readonly #written = new Map<string, number[]>();
  readonly #had = new Map<string, number[]>();

  #events = 0;

  /** @param clients one, connected to the receiver as `target`, that was sent nothing so far */
  constructor(
    private readonly raw: Pair,
    private readonly library: Pair,
    private readonly clients: BenchClients,
  ) {}

  /** @param count hops of each kind */
  async run(count: number): Promise<{ measured: Measured; events: number }> {
    // The first of each is not counted: code and connections have to warm up.
    for (let done = -BLOCK; done < count; done += BLOCK) {
      await this.#rawBlock(done >= 0);
      for (const kind of KINDS) await this.#libraryBlock(kind, done >= 0);
    }
    const measured = Object.fromEntries(
      [...this.#written].map(([kind, written]) => [
        kind,
        { ...shares('written', written), ...shares('had', this.#had.get(kind) ?? []) },
      ]),
    );
    return { measured, events: this.#events };
  }

  async #rawBlock(counts: boolean): Promise<void> {
    const { sender, receiver } = this.raw;
    await receiver.arrivals();
    const called: number[] = [];
    for (let hop = 1; hop <= BLOCK; hop += 1) {
      called.push(await sender.once('publish'));
      await receiver.arrived(hop);
    }
    const arrived = await receiver.arrivals();
    if (counts) note(this.#written, 'raw', called, arrived);
  }

  async #libraryBlock(kind: string, counts: boolean): Promise<void> {
    const { sender, receiver } = this.library;
    await receiver.arrivals();
    const [called, had]: [number[], number[]] = [[], []];
    for (let hop = 1; hop <= BLOCK; hop += 1) {
      this.#events += 1;
      called.push(await sender.once(kind));
      had.push(await this.clients.completed(this.#events));
    }
    const written = await receiver.arrivals();
    if (written.length !== BLOCK) throw new Error(`${BLOCK} events took ${written.length} writes`);
    if (!counts) return;
    note(this.#written, kind, called, written);
    note(this.#had, kind, called, had);
  }
}

function note(into: Map<string, number[]>, kind: string, from: readonly number[], to: readonly number[]): void {
  const microseconds = from.map((at, index) => ((to[index] ?? Number.NaN) - at) / 1000);
  into.set(kind, [...(into.get(kind) ?? []), ...microseconds]);
}

function shares(name: string, figures: readonly number[]): Record<string, number> {
  if (figures.length === 0) return {};
  return { [`${name}P50`]: percentile(figures, 0.5), [`${name}P99`]: percentile(figures, 0.99) };
}
