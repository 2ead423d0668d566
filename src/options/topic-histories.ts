import { z } from 'zod';
import type { TopicHistory } from './connection-settings.js';
import { rule } from './setting-rules.js';

const MAX_PATTERN_BYTES = 256;

const MAP = 'an object that maps topic patterns to false or { maxEntries, ttl }';
const ENTRY = 'false or { maxEntries, ttl }';
const PATTERN = `1 to ${MAX_PATTERN_BYTES} bytes of text without control characters`;

/**
 * The rule of `history.topics`: patterns with their exceptions, in the order given. A pattern whose
 * value is `undefined` is as good as absent. `__proto__` is refused, because no ordinary object can
 * hold it safely.
 */
export function topicHistories(shape: {
  maxEntries: z.ZodOptional<z.ZodNumber>;
  ttl: z.ZodOptional<z.ZodNumber>;
}) {
  const entry = z.union([z.literal(false, ENTRY), rule.group(shape)], ENTRY);
  const entries = z.record(z.string().refine(isPattern), entry.optional(), {
    error: issue => (issue.code === 'invalid_key' ? PATTERN : MAP),
  });
  // A record skips `__proto__` silently, hence the look before it.
  return z.custom<z.input<typeof entries>>(holdsNoPrototype, MAP).pipe(entries).transform(defined);
}

function holdsNoPrototype(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Object.hasOwn(value, '__proto__');
}

function isPattern(text: string): boolean {
  return (
    text !== '' &&
    Buffer.byteLength(text) <= MAX_PATTERN_BYTES &&
    !/\p{Cc}/u.test(text) &&
    text.isWellFormed()
  );
}

function defined(
  entries: Record<string, false | TopicHistory | undefined>,
): Record<string, false | TopicHistory> {
  const kept: Record<string, false | TopicHistory> = {};
  for (const [pattern, history] of Object.entries(entries)) {
    if (history !== undefined) kept[pattern] = history;
  }
  return kept;
}
