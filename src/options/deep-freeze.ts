/**
 * Freezes `value` and every object in it except `untouched`, and returns it. The objects must form
 * a tree.
 */
export function deepFreeze<T>(value: T, untouched: object | undefined): T {
  if (typeof value !== 'object' || value === null || value === untouched) return value;
  for (const child of Object.values(value)) deepFreeze<unknown>(child, untouched);
  return Object.freeze(value);
}
