const MAX_CHARACTERS = 100;

/** Settings whose value a message must not show: they are secrets, or may hold one. */
const SECRETS = ['redis.url', 'redis.password', 'redis.client', 'control.secret'];

/**
 * A value as an error message may show it: JSON for primitives, at most 100 characters; only the
 * kind for objects and for whatever sits at or around a secret, since a secret in the wrong place
 * is still one. Never throws.
 */
export function receivedValue(path: string, value: unknown): string {
  switch (typeof value) {
    case 'undefined':
      return 'undefined';
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value) ? 'an array' : 'an object';
    case 'function':
    case 'symbol':
      return `a ${typeof value}`;
    case 'string':
    case 'number':
    case 'bigint':
    case 'boolean':
      if (isSecret(path)) return `a ${typeof value} (not shown)`;
      return shortened(typeof value === 'string' ? JSON.stringify(value) : String(value));
  }
}

function shortened(text: string): string {
  return text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS - 1)}…` : text;
}

function isSecret(path: string): boolean {
  return path === '' || SECRETS.some(secret => secret === path || secret.startsWith(`${path}.`));
}
