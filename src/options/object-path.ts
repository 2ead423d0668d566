/** Where a value sits in nested objects: the keys from the outside in. */
export type ObjectPath = readonly PropertyKey[];

/** The value at the path, or `undefined` when there is none. */
export function valueAt(root: unknown, path: ObjectPath): unknown {
  let value = root;
  for (const key of path) {
    if (!isObject(value)) return undefined;
    value = value[key];
  }
  return value;
}

/**
 * A copy of `root` with `value` at the path, or without that key when `value` is `undefined`.
 * Copies only the objects on the way; the rest is shared. Where something that is no object is in
 * the way, it stays, for the validation to refuse.
 */
export function withValue(root: unknown, path: ObjectPath, value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (root !== undefined && (!isObject(root) || Array.isArray(root))) return root;
  const { [key]: old, ...others } = root ?? {};
  const replaced = withValue(old, rest, value);
  // A computed key defines an own property, also for `__proto__`, where an assignment would set
  // the prototype.
  return replaced === undefined ? others : { ...others, [key]: replaced };
}

function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === 'object' && value !== null;
}
