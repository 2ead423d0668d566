import { isPromise } from 'node:util/types';
import { SseError } from '../errors.js';

/** Where a value stands in the settings, and how messages name it. */
export interface SettingPath {
  /** The keys from the outside in: `history.topics["news/*"].ttl`; empty for the options as a whole. */
  readonly path: string;
  /** The path, or the environment variable that set the value. */
  readonly name: string;
  /** A message must not show the value: it is a secret, may hold one, or should be a group that has one. */
  readonly secret: boolean;
}

/** The path of a key of the object at `where`; a hostile key is quoted and shortened. */
export function inside(where: SettingPath, key: string | number, secret = false): SettingPath {
  const plain = typeof key === 'string' && /^\w{1,80}$/.test(key);
  const step = plain ? `.${key}` : `[${typeof key === 'string' ? shownValue(key) : key}]`;
  if (where.path !== '') return { path: where.path + step, name: where.name + step, secret };
  const path = plain ? key : step;
  return { path, name: path, secret };
}

/** Collects the problems of one set of options, a line each. */
export class OptionProblems {
  readonly lines: string[] = [];
  readonly #refused = new Set<string>();

  /** The value at the path breaks a rule, which is worded to follow "must be". */
  refuse(where: SettingPath, rule: string, value: unknown): undefined {
    this.#refused.add(where.path);
    this.contradict(where, rule, value);
  }

  /** The list at the path has an item that breaks its rule. */
  refuseItem(where: SettingPath, rule: string, item: unknown): void {
    this.#refused.add(where.path);
    this.lines.push(`${where.name} must be ${rule}, got ${shownValue(item, where.secret)} in it`);
  }

  /** The value at the path breaks a rule only in view of another setting. */
  contradict(where: SettingPath, rule: string, value: unknown): void {
    this.lines.push(`${where.name} must be ${rule}, got ${shownValue(value, where.secret)}`);
  }

  /**
   * Refuses each own key of the value that is not known. The values are not shown: one may be a secret.
   * @param elsewhere the paths of settings that have the key as their name, where no known key is nearly the same
   */
  refuseUnknownKeys(
    where: SettingPath,
    value: object,
    known: readonly string[],
    elsewhere: (key: string) => readonly string[] = () => [],
  ): void {
    for (const [key, nearest] of unknownKeys(value, known)) {
      const meant = nearest === undefined ? elsewhere(key) : [inside(where, nearest).path];
      const hint = meant.length === 0 ? '' : `; did you mean ${meant.join(' or ')}?`;
      this.lines.push(`${inside(where, key).name} is not a setting${hint}`);
    }
  }

  /** Whether the value at the path, or an object around it, was refused. */
  wasRefused(path: string): boolean {
    if (this.#refused.has('')) return true;
    return [...this.#refused].some(bad => path === bad || path.startsWith(`${bad}.`));
  }
}

/** How wrong options are refused: those of a method, of a decorator, and of what the application answers. */
export type OptionsErrorCode = 'INVALID_OPTION' | 'INVALID_ENDPOINT' | 'INTERNAL';

/**
 * Refuses options with a name that is not known, before they are ignored in silence.
 * @param where whose options they are, to begin the message
 * @throws SseError of that code
 */
export function assertKnownKeys(
  where: string,
  options: object,
  known: readonly string[],
  code: OptionsErrorCode = 'INVALID_OPTION',
): void {
  const [first] = unknownKeys(options, known);
  if (first === undefined) return;
  const [key, nearest] = first;
  const hint = nearest === undefined ? `it has: ${known.join(', ')}` : `did you mean ${nearest}?`;
  throw new SseError(code, `${where} has no option ${shownValue(key)}; ${hint}`);
}

/** The own keys of an object that are not known, each with the known name that it is nearly. */
function unknownKeys(given: object, known: readonly string[]): [key: string, nearest: string | undefined][] {
  const unknown = Object.keys(given).filter(key => !known.includes(key));
  return unknown.map(key => [key, nearestName(key, known)]);
}

const MAX_SHOWN_CHARACTERS = 100;

/**
 * A value as a message may show it: JSON for primitives, at most 100 characters; only the type of objects and of
 * secrets. Calls nothing of the value.
 */
export function shownValue(value: unknown, secret = false): string {
  switch (typeof value) {
    case 'undefined':
      return 'undefined';
    case 'object':
      if (value === null) return 'null';
      if (isPromise(value)) return 'a promise';
      return Array.isArray(value) ? 'an array' : 'an object';
    case 'function':
    case 'symbol':
      return `a ${typeof value}`;
    case 'string':
    case 'number':
    case 'bigint':
    case 'boolean':
      if (secret) return `a ${typeof value} (not shown)`;
      return shortened(typeof value === 'string' ? JSON.stringify(value) : String(value));
  }
}

function shortened(text: string): string {
  return text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS - 1)}…` : text;
}

/**
 * The candidate that takes the fewest single-character changes to become `name`, upper and lower case and underscores
 * ignored; the first of equals. `undefined` when that takes more than `limit` changes, or more than one for three
 * characters: a reader would not recognize the name. Time grows with the product of the lengths.
 */
export function nearestName(name: string, candidates: Iterable<string>, limit = 3): string | undefined {
  let nearest: string | undefined;
  let least = Infinity;
  // No candidate is longer than that; a hostile name must not cost seconds.
  const wanted = letters(name.slice(0, 100));
  for (const candidate of candidates) {
    const given = letters(candidate);
    const distance = editDistance(wanted, given);
    const allowed = Math.min(limit, Math.floor(Math.max(wanted.length, given.length) / 3));
    if (distance < least && distance <= allowed) [nearest, least] = [candidate, distance];
  }
  return nearest;
}

function letters(name: string): string {
  return name.replaceAll('_', '').toLowerCase();
}

/** Levenshtein distance, one row at a time. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replace = at(row, j - 1) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replace, at(row, j) + 1, at(next, j - 1) + 1));
    }
    row = next;
  }
  return at(row, to.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Infinity;
}
