import { LONGEST_MS } from '../time.js';
import { inside, type OptionProblems, type SettingPath } from './problems.js';

/** A kind of setting: which values it takes, in words and in code. */
export interface Kind<T> {
  /** Which values it takes, worded to follow "must be", so that any violation shows all of the rule. */
  readonly rule: string;
  /** The value as the service keeps it, frozen if the kind copies it; `undefined` when it was refused. Never throws. */
  readonly check: (value: unknown, where: SettingPath, problems: OptionProblems) => T | undefined;
  /** Whether a value is kept as it is, without a problem. Absent where only `check` can say. */
  readonly accepts?: (value: unknown) => boolean;
  /**
   * Text of the environment as a value; text that is none stays as it is, for `check` to refuse. Absent when text cannot
   * express the value.
   */
  readonly decode?: (text: string) => unknown;
  /** The value is a secret or may hold one: no message shows it. */
  readonly secret?: true;
}

/** The default of a setting. A computed one gets the values that were given in the same group, at each resolution. */
type Default<T> =
  | { readonly kind: 'fixed'; readonly value: T }
  | { readonly kind: 'computed'; readonly from: (given: GivenValues) => T };

/** The valid values that the application and the environment set in one group. */
export type GivenValues = Readonly<Record<string, unknown>>;

/** One setting: its kind and its default. A class, so that a setting differs from a group of settings at run time. */
export class Setting<T> {
  constructor(
    readonly kind: Kind<T>,
    readonly initial: Default<T>,
  ) {}
}

/** A setting with a fixed default. */
export function setting<T>(kind: Kind<T>, value: NoInfer<T>): Setting<T> {
  return new Setting(kind, { kind: 'fixed', value });
}

/** A setting with a default that is computed anew each time. */
export function computed<T>(kind: Kind<T>, from: (given: GivenValues) => NoInfer<T>): Setting<T> {
  return new Setting(kind, { kind: 'computed', from });
}

/** A setting that may be absent. */
export function optional<T>(kind: Kind<T>): Setting<T | undefined> {
  return new Setting<T | undefined>(kind, { kind: 'fixed', value: undefined });
}

/** The same kind with values that no message shows. */
export function secret<T>(kind: Kind<T>): Kind<T> {
  return { ...kind, secret: true };
}

function wholeNumber(unit: string, min: number, max = Number.MAX_SAFE_INTEGER): Kind<number> {
  const noun = unit === '' ? 'a whole number' : `a whole number of ${unit}`;
  const rule = max === Number.MAX_SAFE_INTEGER ? `${noun} >= ${min}` : `${noun} from ${min} to ${max}`;
  return simple(rule, value => isWhole(value, min, max), decodeNumber);
}

function isWhole(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max;
}

/** Whole milliseconds that a timer can wait, at least 1. */
export const milliseconds = wholeNumber('milliseconds', 1, LONGEST_MS);

/** Whole milliseconds between two bounds. */
export function millisecondsWithin(min: number, max = LONGEST_MS): Kind<number> {
  return wholeNumber('milliseconds', min, max);
}

/** Whole milliseconds, or `false` for off. */
export const millisecondsOrOff = orOff(milliseconds);

/** Whole seconds, at least 1. */
export const seconds = wholeNumber('seconds', 1, LONGEST_MS);

/** Whole bytes, at least 1. */
export const bytes = wholeNumber('bytes', 1);

/** A whole number of anything. */
export function count(min: number, max?: number): Kind<number> {
  return wholeNumber('', min, max);
}

/** A whole number of anything, at least 1, or `false` for off. */
export const countOrOff = orOff(count(1));

/** `'auto'`, or `false` for off. */
export const autoOrOff = orOff(
  simple(
    "'auto'",
    (value): value is 'auto' => value === 'auto',
    text => text.trim(),
  ),
);

/** True or false. */
export const flag: Kind<boolean> = simple('true or false', value => typeof value === 'boolean', decodeFlag);

/** One of some words. */
export function oneOf<const Values extends readonly string[]>(...values: Values): Kind<Values[number]> {
  const accepts = (value: unknown): value is Values[number] => typeof value === 'string' && values.includes(value);
  return simple(`one of ${values.map(value => `'${value}'`).join(', ')}`, accepts, text => text.trim());
}

/** Text that the pattern accepts; the rule says in words what the pattern says. */
export function text(rule: string, pattern = /^/): Kind<string> {
  const accepts = (value: unknown): value is string => typeof value === 'string' && pattern.test(value);
  return simple(rule, accepts, given => given);
}

/** An address of Redis. Blank text counts as absent, so that an unset variable of the application can be passed on. */
export const redisUrl: Kind<string> = {
  rule: 'a redis:// or rediss:// URL; undefined or empty for one process',
  check(value, where, problems) {
    if (typeof value === 'string' && /^rediss?:\/\/\S+$/.test(value)) return value;
    if (typeof value !== 'string' || value.trim() !== '') problems.refuse(where, redisUrl.rule, value);
    return undefined;
  },
  decode: given => given,
};

/** An object of a client library, or a function that has its methods. It is kept as given. */
export const redisClient: Kind<object> = simple(
  'a Redis client, an object',
  value => (typeof value === 'object' && value !== null) || typeof value === 'function',
);

/** A class whose objects are clients of ioredis. */
export const redisClass: Kind<new (...args: never[]) => object> = simple(
  'the class Redis of ioredis',
  (value): value is new (...args: never[]) => object =>
    typeof value === 'function' && typeof (value.prototype as { duplicate?: unknown } | null)?.duplicate === 'function',
);

/** User and password of Redis. */
export interface RedisCredentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** Gives user and password; asked before each connect. */
export type CredentialsSource = () => RedisCredentials | Promise<RedisCredentials>;

/** A function that gives user and password. */
export const redisCredentials: Kind<CredentialsSource> = simple(
  'a function that gives { username?, password? }',
  (value): value is CredentialsSource => typeof value === 'function',
);

/** A list of names, each not empty. */
export function names(max: number): Kind<readonly string[]> {
  const rule = `a list of at most ${max} names`;
  return {
    rule,
    check(value, where, problems) {
      if (!Array.isArray(value) || value.length > max) {
        problems.refuse(where, rule, value);
        return undefined;
      }
      const kept: string[] = [];
      for (const [index, name] of value.entries()) {
        if (typeof name === 'string' && name !== '') kept.push(name);
        else problems.refuse(inside(where, index), rule, name);
      }
      return Object.freeze(kept);
    },
    decode: list => list.split(',').map(name => name.trim()),
  };
}

/** One of some words, or a list of 1 to 100 origins such as `https://example.org`; in the environment joined by commas. */
export function wordOrOrigins<const Words extends readonly string[]>(
  ...words: Words
): Kind<Words[number] | readonly string[]> {
  const rule = `one of ${words.map(word => `'${word}'`).join(', ')}, or a list of 1 to 100 origins such as 'https://example.org'`;
  const isWord = (value: unknown): value is Words[number] => typeof value === 'string' && words.includes(value);
  return {
    rule,
    check(value, where, problems) {
      if (isWord(value)) return value;
      const items: readonly unknown[] = Array.isArray(value) ? value : [];
      if (items.length > 0 && items.length <= 100 && items.every(isOrigin)) return Object.freeze([...items]);
      problems.refuse(where, rule, items.find(each => !isOrigin(each)) ?? value);
      return undefined;
    },
    decode: given => (isWord(given.trim()) ? given.trim() : given.split(',').map(each => each.trim())),
  };
}

/** As a browser writes an origin: lower case, no path, no default port. */
function isOrigin(value: unknown): value is string {
  return typeof value === 'string' && URL.canParse(value) && /^https?:/.test(value) && new URL(value).origin === value;
}

/** A list of at least so many items that `accepts` accepts. A message shows the first item that it does not. */
export function listOf<T>(rule: string, accepts: (item: unknown) => item is T, least = 0): Kind<readonly T[]> {
  const isList = (value: unknown): value is readonly T[] =>
    Array.isArray(value) && value.length >= least && value.every(accepts);
  return {
    rule,
    accepts: isList,
    check(value, where, problems) {
      if (isList(value)) return value;
      const items: readonly unknown[] = Array.isArray(value) ? value : [];
      const index = items.findIndex(item => !accepts(item));
      if (index < 0) problems.refuse(where, rule, value);
      else problems.refuseItem(where, rule, items[index]);
      return undefined;
    },
  };
}

/** Text that the pattern accepts, or a list of such texts; `rule` follows "a text". */
export function oneOrMore(max: number, rule: string, pattern: RegExp): Kind<string | readonly string[]> {
  const whole = `a text ${rule}, or a list of 1 to ${max} of them`;
  const accepts = (value: unknown): value is string => typeof value === 'string' && pattern.test(value);
  return {
    rule: whole,
    check(value, where, problems) {
      if (accepts(value)) return value;
      if (Array.isArray(value) && value.length > 0 && value.length <= max && value.every(accepts)) {
        return Object.freeze([...value]);
      }
      problems.refuse(where, whole, value);
      return undefined;
    },
    decode: text => {
      const lines = text.split(/\r?\n/).filter(line => line !== '');
      return lines.length === 1 ? lines[0] : lines;
    },
  };
}

/** The values that `accepts` accepts, kept as they are. */
export function simple<T>(
  rule: string,
  accepts: (value: unknown) => value is T,
  decode?: (text: string) => unknown,
): Kind<T> {
  const check: Kind<T>['check'] = (value, where, problems) =>
    accepts(value) ? value : problems.refuse(where, rule, value);
  return { rule, check, accepts, ...(decode && { decode }) };
}

/** The same kind, or `false` for off. */
function orOff<T>({ rule, accepts, decode }: Kind<T>): Kind<T | false> {
  return simple(
    `${rule}, or false`,
    (value): value is T | false => value === false || accepts?.(value) === true,
    text => (isOff(text) ? false : decode?.(text)),
  );
}

/** Decimal digits only: `Number` would also take '', '0x10' and '1e3', which an operator does not mean as numbers. */
function decodeNumber(text: string): unknown {
  return /^-?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text;
}

function isOff(text: string): boolean {
  return /^(false|off)$/i.test(text.trim());
}

function decodeFlag(text: string): unknown {
  const word = text.trim().toLowerCase();
  if (word === 'true' || word === '1') return true;
  return word === 'false' || word === '0' ? false : text;
}
