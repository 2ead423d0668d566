import { AssertionError } from 'node:assert';
import { inspect, isDeepStrictEqual } from 'node:util';
import { SseError } from '../../errors.js';

/** Begins an assertion, in the words of chai: the suites need no assertion library of the application. */
export function expect(actual: unknown, message?: string): Expectation {
  return new Expectation(actual, message);
}

/** One value and what must be true of it. Each check throws `AssertionError`. */
class Expectation {
  #not = false;
  #deep = false;

  constructor(
    private readonly actual: unknown,
    private readonly message: string | undefined,
  ) {}

  get to(): this {
    return this;
  }

  get be(): this {
    return this;
  }

  get at(): this {
    return this;
  }

  get have(): this {
    return this;
  }

  get not(): this {
    this.#not = true;
    return this;
  }

  get deep(): this {
    this.#deep = true;
    return this;
  }

  equal(expected: unknown): void {
    this.#check('equal', expected, this.#same(this.actual, expected));
  }

  /** A part of a text, an element of an array, or fields of an object. */
  include(expected: unknown): void {
    const { actual } = this;
    if (typeof actual === 'string') this.#check('include', expected, actual.includes(String(expected)));
    else if (Array.isArray(actual)) {
      this.#check(
        'include',
        expected,
        actual.some(element => this.#same(element, expected)),
      );
    } else {
      const fields = Object.entries(Object(expected) as object);
      this.#check(
        'include',
        expected,
        fields.every(([name, value]) => this.#same(fieldOf(actual, name), value)),
      );
    }
  }

  length(expected: number): void {
    this.#check('have the length', expected, fieldOf(this.actual, 'length') === expected);
  }

  /** The same elements in any order. */
  members(expected: readonly unknown[]): void {
    const rest = Array.isArray(this.actual) ? [...(this.actual as unknown[])] : [];
    const found = expected.every(member => {
      const at = rest.findIndex(element => this.#same(element, member));
      if (at >= 0) rest.splice(at, 1);
      return at >= 0;
    });
    this.#check('have the members', expected, found && rest.length === 0);
  }

  property(name: string): void {
    this.#check('have the property', name, name in (Object(this.actual) as object));
  }

  a(type: string): void {
    this.#check('be a', type, typeof this.actual === type);
  }

  match(expected: RegExp): void {
    this.#check('match', expected, expected.test(String(this.actual)));
  }

  greaterThan(expected: number): void {
    this.#check('be greater than', expected, Number(this.actual) > expected);
  }

  most(expected: number): void {
    this.#check('be at most', expected, Number(this.actual) <= expected);
  }

  within(from: number, to: number): void {
    this.#check('be within', [from, to], Number(this.actual) >= from && Number(this.actual) <= to);
  }

  #same(one: unknown, other: unknown): boolean {
    return this.#deep ? isDeepStrictEqual(one, other) : Object.is(one, other);
  }

  #check(operator: string, expected: unknown, holds: boolean): void {
    if (holds !== this.#not) return;
    const { actual, message } = this;
    const text = `expected ${inspect(actual)} to ${this.#not ? 'not ' : ''}${operator} ${inspect(expected)}`;
    throw new AssertionError({
      message: message === undefined ? text : `${message}: ${text}`,
      actual,
      expected,
      operator,
    });
  }
}

function fieldOf(value: unknown, name: string): unknown {
  // Any value; a field that is not there is `undefined`.
  return (Object(value) as Record<string, unknown>)[name];
}

/** The SseError that the promise rejects with; `undefined` when it resolves. Any other error is thrown. */
export async function failureOf(promise: Promise<unknown>): Promise<SseError | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    if (SseError.is(error)) return error;
    throw error;
  }
}

/** The code of the SseError that the promise rejects with; `undefined` when it resolves. Any other error is thrown. */
export async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return (await failureOf(promise))?.code;
}
