import { z } from 'zod';

/** Longest wait that a Node.js timer can take, in milliseconds; longer ones fire at once. */
const MAX_TIMER_MS = 2_147_483_647;

/** Rule of the objects that hold settings. */
const GROUP = 'an object of settings';

/**
 * The kinds of setting. Each carries its rule as the message of whatever is wrong with it, worded
 * to follow "must be", so that a reader learns all of the rule from any violation.
 */
export const rule = {
  /** Whole milliseconds that a timer can wait. */
  milliseconds: (min = 1, max = MAX_TIMER_MS) => whole('milliseconds', min, max),
  /** The same, or `false` for off. */
  millisecondsOrOff: () => {
    const text = `${wholeText('milliseconds', 1, MAX_TIMER_MS)}, or false`;
    const number = z.int(text).min(1, text).max(MAX_TIMER_MS, text);
    return z.union([z.literal(false, text), number], text);
  },
  /** `'auto'`, or `false` for off. */
  autoOrOff: () => {
    const text = "'auto', or false";
    return z.union([z.literal('auto', text), z.literal(false, text)], text);
  },
  /** Whole seconds. */
  seconds: () => whole('seconds', 1, MAX_TIMER_MS),
  /** Whole bytes, at least one. */
  bytes: () => whole('bytes', 1),
  /** A whole number of anything. */
  count: (min: number, max?: number) => whole('', min, max),
  flag: () => z.boolean('true or false'),
  oneOf: <const Values extends readonly [string, ...string[]]>(...values: Values) =>
    z.enum(values, `one of ${values.map(value => `'${value}'`).join(', ')}`),
  /** Text that the pattern accepts; `text` says in words what the pattern says. */
  text: (text: string, pattern = /^/) => z.string(text).regex(pattern, text),
  /** A list of names, each not empty. */
  names: (max: number) => {
    const text = `a list of at most ${max} names`;
    return z.array(z.string(text).min(1, text), text).max(max, text).readonly();
  },
  /** An object with these keys and no others; absent means all defaults. */
  group: <Shape extends z.core.$ZodLooseShape>(shape: Shape) => z.strictObject(shape, GROUP),
};

function whole(unit: string, min: number, max = Number.MAX_SAFE_INTEGER) {
  const text = wholeText(unit, min, max);
  return z.int(text).min(min, text).max(max, text);
}

function wholeText(unit: string, min: number, max: number): string {
  const what = unit === '' ? 'a whole number' : `a whole number of ${unit}`;
  return max === Number.MAX_SAFE_INTEGER ? `${what} >= ${min}` : `${what} from ${min} to ${max}`;
}
