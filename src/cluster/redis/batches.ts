import { SseError } from '../../errors.js';

interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** Answers a batch: one answer for each item, in their order. */
type Run<Target, Item, Answer> = (target: Target, items: readonly Item[]) => Promise<readonly Answer[]>;

/**
 * Lets calls of one turn of the event loop travel together, those to one target at most `most` at a time. Batches leave in the
 * order in which their first calls were made. The failure of a batch is the failure of each of its calls.
 */
export class Batches<Target, Item, Answer> {
  readonly #waiting = new Map<Target, Waiting<Item, Answer>[]>();
  #underWay = 0;

  constructor(
    private readonly most: number,
    private readonly run: Run<Target, Item, Answer>,
  ) {}

  call(target: Target, item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(target) ?? this.#begin(target);
      waiting.push({ item, resolve, reject });
      if (waiting.length >= this.most) this.#leave(target, waiting);
    });
  }

  #begin(target: Target): Waiting<Item, Answer>[] {
    if (this.#waiting.size === 0) this.#plan(() => this.#leaveAll());
    const waiting: Waiting<Item, Answer>[] = [];
    this.#waiting.set(target, waiting);
    return waiting;
  }

  /** A call that is alone need not wait for the end of the turn. */
  #plan(leave: () => void): void {
    if (this.#underWay === 0) process.nextTick(leave);
    else setImmediate(leave);
  }

  #leaveAll(): void {
    for (const [target, waiting] of this.#waiting) this.#leave(target, waiting);
  }

  #leave(target: Target, waiting: readonly Waiting<Item, Answer>[]): void {
    this.#waiting.delete(target);
    this.#underWay += 1;
    this.run(
      target,
      waiting.map(({ item }) => item),
    ).then(
      answers => {
        this.#underWay -= 1;
        for (const [at, { resolve, reject }] of waiting.entries()) {
          const answer = answers[at];
          if (answer === undefined) reject(new SseError('INTERNAL', 'a batch must answer each of its calls'));
          else resolve(answer);
        }
      },
      (error: unknown) => {
        this.#underWay -= 1;
        for (const { reject } of waiting) reject(error);
      },
    );
  }
}
