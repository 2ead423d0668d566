/** Whether a value that came from another node has a type. */
export type Check<T> = (value: unknown) => value is T;

/** The longest text of a message between nodes; longer text is none of ours. */
const LONGEST_TEXT = 4096;

export const isText: Check<string> = (value): value is string =>
  typeof value === 'string' && value.length <= LONGEST_TEXT;
export const isNumber: Check<number> = (value): value is number => typeof value === 'number' && Number.isFinite(value);
export const isFlag: Check<boolean> = (value): value is boolean => typeof value === 'boolean';

export function isOneOf<T extends string>(...values: readonly T[]): Check<T> {
  const known: ReadonlySet<unknown> = new Set(values);
  return (value): value is T => known.has(value);
}

export function orNull<T>(check: Check<T>): Check<T | null> {
  return (value): value is T | null => value === null || check(value);
}

export function isListOf<T>(check: Check<T>, most = 1_000): Check<readonly T[]> {
  return (value): value is readonly T[] => Array.isArray(value) && value.length <= most && value.every(check);
}

/** An object with any keys, 200 at most. */
export function isRecordOf<T>(check: Check<T>): Check<Readonly<Record<string, T>>> {
  return (value): value is Readonly<Record<string, T>> => {
    if (!isObject(value)) return false;
    const entries = Object.entries(value);
    return entries.length <= 200 && entries.every(([key, each]) => isText(key) && check(each));
  };
}

/** An object with these keys, and maybe others: those of a newer version. */
export function isShape<T extends object>(checks: { readonly [K in keyof T]-?: Check<T[K]> }): Check<T> {
  const all = Object.entries<Check<unknown>>(checks);
  return (value): value is T => isObject(value) && all.every(([key, check]) => check(value[key]));
}

/** An object of a union, by its `kind`. */
export function isKind<T extends { readonly kind: string }>(checks: {
  readonly [K in T['kind']]: Check<Extract<T, { readonly kind: K }>>;
}): Check<T> {
  const known = new Map<unknown, Check<unknown>>(Object.entries<Check<unknown>>(checks));
  return (value): value is T => isObject(value) && known.get(value['kind'])?.(value) === true;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
