import { SseError } from '../../errors.js';
import { isUnreadable } from './failures.js';

interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** Answers a batch: one answer for each item, in their order. A call whose answer is `undefined` fails. */
type Run<Target, Item, Answer> = (target: Target, items: readonly Item[]) => Promise<readonly (Answer | undefined)[]>;

/** The calls of one batch, and the sum of their sizes. */
interface Batch<Item, Answer> {
  readonly calls: Waiting<Item, Answer>[];
  size: number;
}

/** How calls gather in batches. */
interface Gathering<Item> {
  /** The size of a call. Default 1 */
  readonly sizeOf?: (item: Item) => number;
  /**
   * How many batches to a target may have no answer; one more waits for an answer, or until it is full. A rush takes fewer calls,
   * each for at most one round trip more. Two: one can be on its way while Redis works on the other. Default any number.
   */
  readonly atOnce?: number;
}

/**
 * Lets calls of one turn of the event loop travel together: a batch to a target leaves at the end of the turn, or when the sizes
 * of its calls reach `most`. Batches to a target leave in the order in which their first calls were made. The failure of a batch
 * is the failure of each of its calls; where a key cannot be read, each is made once more by itself.
 */
export class Batches<Target, Item, Answer> {
  readonly #waiting = new Map<Target, Batch<Item, Answer>>();
  /** How many batches to a target have no answer yet. */
  readonly #underWay = new Map<Target, number>();
  readonly #sizeOf: (item: Item) => number;
  readonly #atOnce: number;
  #planned = false;

  constructor(
    private readonly most: number,
    private readonly run: Run<Target, Item, Answer>,
    { sizeOf = () => 1, atOnce = Infinity }: Gathering<Item> = {},
  ) {
    this.#sizeOf = sizeOf;
    this.#atOnce = atOnce;
  }

  call(target: Target, item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const batch = this.#waiting.get(target) ?? this.#begin(target);
      batch.calls.push({ item, resolve, reject });
      batch.size += this.#sizeOf(item);
      if (batch.size >= this.most) this.#leave(target, batch);
    });
  }

  #begin(target: Target): Batch<Item, Answer> {
    const batch: Batch<Item, Answer> = { calls: [], size: 0 };
    this.#waiting.set(target, batch);
    if (!this.#mustWait(target)) this.#plan(this.#underWay.size === 0);
    return batch;
  }

  /** @param alone a call that is alone need not wait for the end of the turn */
  #plan(alone: boolean): void {
    if (this.#planned) return;
    this.#planned = true;
    const leaveAll = (): void => {
      this.#planned = false;
      for (const [target, batch] of this.#waiting) if (!this.#mustWait(target)) this.#leave(target, batch);
    };
    if (alone) process.nextTick(leaveAll);
    else setImmediate(leaveAll);
  }

  #mustWait(target: Target): boolean {
    return (this.#underWay.get(target) ?? 0) >= this.#atOnce;
  }

  #leave(target: Target, { calls }: Batch<Item, Answer>): void {
    this.#waiting.delete(target);
    this.#make(target, calls);
  }

  #make(target: Target, calls: readonly Waiting<Item, Answer>[]): void {
    this.#underWay.set(target, (this.#underWay.get(target) ?? 0) + 1);
    this.run(
      target,
      calls.map(({ item }) => item),
    ).then(
      answers => {
        this.#settled(target);
        for (const [at, { resolve, reject }] of calls.entries()) {
          const answer = answers[at];
          if (answer === undefined) reject(new SseError('INTERNAL', 'a batch must answer each of its calls'));
          else resolve(answer);
        }
      },
      (error: unknown) => {
        this.#settled(target);
        // A key that another program wrote concerns the calls alone that need it.
        if (calls.length > 1 && isUnreadable(error)) for (const call of calls) this.#make(target, [call]);
        else for (const { reject } of calls) reject(error);
      },
    );
  }

  #settled(target: Target): void {
    const others = (this.#underWay.get(target) ?? 1) - 1;
    if (others > 0) this.#underWay.set(target, others);
    else this.#underWay.delete(target);
    // At the end of the turn, so that those join whose wait ends with this answer.
    if (this.#waiting.has(target) && !this.#mustWait(target)) this.#plan(false);
  }
}
