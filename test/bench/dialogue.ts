import type { ChildProgram } from '../support/child-program.js';

interface Answer {
  readonly id: number;
  readonly answer: unknown;
}

/** Questions to a program over IPC, any number at a time. */
export class Dialogue {
  #last = 0;
  readonly #open = new Map<number, (answer: unknown) => void>();

  constructor(private readonly program: ChildProgram) {
    program.process.on('message', ({ id, answer }: Answer) => {
      this.#open.get(id)?.(answer);
      this.#open.delete(id);
    });
  }

  /** Resolves with the answer. Rejects when the program exits first. */
  ask<T>(question: object): Promise<T> {
    this.#last += 1;
    const id = this.#last;
    const answered = new Promise<T>(resolve => {
      // What the program answers is its own affair; it and the caller share one source file.
      this.#open.set(id, answer => resolve(answer as T));
    });
    this.program.process.send({ id, ...question });
    return Promise.race([answered, this.#gone()]);
  }

  async #gone(): Promise<never> {
    const code = await this.program.exited;
    throw new Error(`it exited with ${String(code)}:\n${this.program.output}`);
  }
}
