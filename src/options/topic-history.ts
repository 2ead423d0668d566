import type { Retention } from '../contracts/cluster.js';
import { count, type Kind, milliseconds } from './kinds.js';
import { inside, type OptionProblems, type SettingPath } from './problems.js';

/** What the log keeps of the topics that match a pattern; a missing value comes from the group `history`. */
export interface TopicHistory {
  /** Newest events kept, 1 to 1000000. Default `history.maxEntries`. */
  readonly maxEntries?: number | undefined;
  /** Milliseconds an event is kept. Default `history.ttl`. */
  readonly ttl?: number | undefined;
}

/** Topic patterns with their exceptions; `false` keeps nothing. */
export type TopicHistories = Readonly<Record<string, false | TopicHistory>>;

/** A number of entries that the log may keep. */
export const entries = count(1, 1_000_000);

const MAX_PATTERN_BYTES = 256;
const PATTERN_RULE = `1 to ${MAX_PATTERN_BYTES} bytes of text without control characters`;
const EXCEPTION_RULE = 'false or { maxEntries, ttl }';
const EXCEPTION_KINDS = { maxEntries: entries, ttl: milliseconds };

/**
 * The kind of `history.topics`. Keeps the order of the patterns and drops those whose value is `undefined`. Refuses
 * `__proto__`, because no ordinary object can hold it safely.
 */
export const topicHistories: Kind<TopicHistories> = {
  rule: `an object that maps topic patterns to ${EXCEPTION_RULE}`,
  check(value, where, problems) {
    if (!isPlainObject(value) || Object.hasOwn(value, '__proto__')) {
      problems.refuse(where, topicHistories.rule, value);
      return undefined;
    }
    const kept: Record<string, false | TopicHistory> = {};
    for (const [pattern, exception] of Object.entries(value)) {
      const at = inside(where, pattern);
      if (!isPattern(pattern)) {
        problems.refuse({ ...at, name: `each key of ${where.name}` }, PATTERN_RULE, pattern);
      } else if (exception !== undefined) {
        kept[pattern] = checkException(exception, at, problems);
      }
    }
    return Object.freeze(kept);
  },
  decode(text) {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      return text;
    }
  },
};

function checkException(value: unknown, where: SettingPath, problems: OptionProblems): false | TopicHistory {
  if (value === false) return false;
  const kept: { -readonly [K in keyof TopicHistory]: TopicHistory[K] } = {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.refuse(where, EXCEPTION_RULE, value);
    return kept;
  }
  const given: { readonly [K in keyof TopicHistory]?: unknown } = value;
  for (const key of ['maxEntries', 'ttl'] as const) {
    if (given[key] === undefined) continue;
    kept[key] = EXCEPTION_KINDS[key].check(given[key], inside(where, key), problems);
  }
  problems.refuseUnknownKeys(where, value, Object.keys(EXCEPTION_KINDS));
  return Object.freeze(kept);
}

/** Whether the value is an object literal, of whatever realm. */
function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.hasOwn(prototype as object, 'isPrototypeOf');
}

function isPattern(text: string): boolean {
  return text !== '' && Buffer.byteLength(text) <= MAX_PATTERN_BYTES && !/\p{Cc}/u.test(text) && text.isWellFormed();
}

/** The settings of the group `history`. */
export interface HistorySettings {
  readonly enabled: boolean;
  readonly maxEntries: number;
  readonly ttl: number;
  readonly topics: TopicHistories;
}

interface CompiledHistory {
  readonly standard: Retention | false;
  readonly exceptions: readonly {
    readonly matches: (topic: string) => boolean;
    readonly retention: Retention | false;
  }[];
}

// Settings are frozen, so the compiled form stays valid as long as they live.
const compiled = new WeakMap<HistorySettings, CompiledHistory>();

/**
 * How long the log keeps the events of a topic, or of broadcasts when it is `undefined`; false: not at all. The first
 * pattern that matches decides, and its missing values come from the group. The results are shared and frozen.
 */
export function retentionFor(history: HistorySettings, topic: string | undefined): Retention | false {
  let plan = compiled.get(history);
  if (plan === undefined) {
    plan = compile(history);
    compiled.set(history, plan);
  }
  if (topic === undefined) return plan.standard;
  const exception = plan.exceptions.find(({ matches }) => matches(topic));
  return exception === undefined ? plan.standard : exception.retention;
}

function compile({ enabled, maxEntries, ttl, topics }: HistorySettings): CompiledHistory {
  if (!enabled) return { standard: false, exceptions: [] };
  const exceptions = Object.entries(topics).map(([pattern, own]) => ({
    matches: topicPattern(pattern),
    retention: own !== false && Object.freeze({ maxEntries: own.maxEntries ?? maxEntries, ttl: own.ttl ?? ttl }),
  }));
  return { standard: Object.freeze({ maxEntries, ttl }), exceptions };
}

/**
 * Compiles a topic name in which `*` stands for any characters, none included; every other character stands for itself.
 * The returned function needs time proportional to the length of the topic for each star at worst, for any pattern.
 */
export function topicPattern(pattern: string): (topic: string) => boolean {
  const [head = '', ...rest] = pattern.split('*');
  const tail = rest.pop();
  if (tail === undefined) return topic => topic === pattern;
  return topic => {
    const end = topic.length - tail.length;
    if (end < head.length || !topic.startsWith(head) || !topic.endsWith(tail)) return false;
    // The leftmost match of a piece leaves the most room for the next, so that no backtracking is needed.
    let from = head.length;
    for (const piece of rest) {
      const found = topic.indexOf(piece, from);
      if (found === -1 || found + piece.length > end) return false;
      from = found + piece.length;
    }
    return true;
  };
}
