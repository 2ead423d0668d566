import type { ParsedUrlQuery } from 'node:querystring';
import { SseError } from '../errors.js';
import { shownValue } from '../options/problems.js';

const LONGEST = 1_024;

/** The query of a request, read with rules. Every method throws `INVALID_REQUEST` for a value that breaks its rule. */
export class Query {
  constructor(private readonly parameters: ParsedUrlQuery) {}

  /** The last value; `undefined` for none, and for an empty one. */
  text(name: string, most = LONGEST): string | undefined {
    const value = this.parameters[name];
    const text = Array.isArray(value) ? value.at(-1) : value;
    if (text === undefined || text === '') return undefined;
    if (text.length > most) throw invalid(name, `at most ${most} characters`, text);
    return text;
  }

  oneOf<const T extends string>(name: string, values: readonly T[]): T | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const found = values.find(value => value === text);
    if (found === undefined) throw invalid(name, `one of ${values.join(', ')}`, text);
    return found;
  }

  whole(name: string, least: number, most: number, otherwise: number): number {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    const number = Number(text);
    if (!Number.isInteger(number) || number < least || number > most) {
      throw invalid(name, `a whole number from ${least} to ${most}`, text);
    }
    return number;
  }
}

function invalid(name: string, rule: string, value: string): SseError {
  return new SseError('INVALID_REQUEST', `the parameter ${name} must be ${rule}, got ${shownValue(value)}`);
}
