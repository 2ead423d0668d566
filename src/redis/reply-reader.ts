import { SseError } from '../errors/sse-error.js';

/**
 * Reads a script's reply, which is `unknown` until then: position by position, each checked.
 * Every method throws SseError `INTERNAL` when the reply is not as the script promises.
 */
export class ReplyReader {
  readonly #values: readonly unknown[];

  constructor(
    private readonly script: string,
    reply: unknown,
  ) {
    if (!Array.isArray(reply)) throw this.#unexpected('a list', reply);
    this.#values = reply;
  }

  get length(): number {
    return this.#values.length;
  }

  /** The first value, which must be one of these words. */
  status<S extends string>(statuses: readonly S[]): S {
    const text = this.text(0);
    const status = statuses.find(known => known === text);
    if (status === undefined) throw this.#unexpected(`one of ${statuses.join(', ')}`, text);
    return status;
  }

  text(position: number): string {
    const value = this.#values[position];
    if (typeof value === 'string') return value;
    if (Buffer.isBuffer(value)) return value.toString();
    throw this.#unexpected(`text at ${position}`, value);
  }

  /** A whole number, also as decimal text. */
  integer(position: number): number {
    const value = this.#values[position];
    const number = typeof value === 'number' ? value : Number(this.text(position) || Number.NaN);
    if (!Number.isSafeInteger(number))
      throw this.#unexpected(`a whole number at ${position}`, value);
    return number;
  }

  bytes(position: number): Buffer {
    const value = this.#values[position];
    if (Buffer.isBuffer(value)) return value;
    throw this.#unexpected(`bytes at ${position}`, value);
  }

  list(position: number): ReplyReader {
    return new ReplyReader(this.script, this.#values[position]);
  }

  /** What follows `from`, in groups of `size` values; `read` gets the position of each group. */
  groups<T>(from: number, size: number, read: (position: number) => T): T[] {
    if (this.length < from || (this.length - from) % size !== 0) {
      throw this.#unexpected(`groups of ${size} from ${from}`, `${this.length} values`);
    }
    return Array.from({ length: (this.length - from) / size }, (_, group) =>
      read(from + group * size),
    );
  }

  #unexpected(expected: string, received: unknown): SseError {
    const got = typeof received === 'string' ? `'${received.slice(0, 80)}'` : typeof received;
    return new SseError(
      'INTERNAL',
      `${this.script}.lua must answer ${expected}, got ${got}; all nodes must run the same version`,
    );
  }
}
