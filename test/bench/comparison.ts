import type { BenchResult } from './bench-result.js';
import type { Candidate } from './bench-server.js';

/** Candidates that are measured in turn. */
export class Comparison {
  readonly #taking: readonly Candidate[];
  readonly #absent: string[] = [];

  /** @param only names of those that are wanted, with commas; everyone unless given */
  constructor(
    candidates: readonly Candidate[],
    only: string | undefined,
    private readonly rounds: number,
  ) {
    const wanted = only?.split(',');
    this.#taking = candidates
      .filter(({ name }) => wanted?.includes(name) ?? true)
      .filter(candidate => this.#isPresent(candidate));
  }

  /** Who cannot take part, and why, as sentences. */
  get absent(): string {
    return this.#absent.map(reason => `Absent: ${reason}. `).join('');
  }

  /** Measures every candidate once in each round, so that a busy minute harms all alike. */
  async run(
    what: string,
    measure: (candidate: Candidate) => Promise<BenchResult['rounds'][number]>,
  ): Promise<BenchResult[]> {
    const figures = this.#taking.map(candidate => ({
      candidate,
      rounds: [] as BenchResult['rounds'][number][],
    }));
    for (let round = 1; round <= this.rounds; round += 1) {
      for (const { candidate, rounds } of figures) {
        console.log(`${what}, round ${round}, ${candidate.name}`);
        rounds.push(await measure(candidate));
      }
    }
    return figures.map(({ candidate: { name, description }, rounds }) => ({
      name,
      description,
      rounds,
    }));
  }

  #isPresent({ name, absence }: Candidate): boolean {
    const reason = absence();
    if (reason === undefined) return true;
    this.#absent.push(`${name}, since ${reason}`);
    console.log(`${name} takes no part: ${reason}`);
    return false;
  }
}
