import type { Retention } from '../contracts/cluster.js';
import type { ResolvedSseOptions } from './sse-options.js';
import { topicPattern } from './topic-pattern.js';

type History = ResolvedSseOptions['history'];

interface CompiledHistory {
  readonly standard: Retention | false;
  readonly exceptions: readonly {
    readonly matches: (topic: string) => boolean;
    readonly retention: Retention | false;
  }[];
}

// Settings are frozen, so what is compiled from them stays true as long as they live.
const compiled = new WeakMap<History, CompiledHistory>();

/**
 * How long the log keeps the events of a topic, or of broadcasts when it is `undefined`; false: not
 * at all. The first pattern that matches decides, what it leaves out comes from the group. The
 * answers are shared and frozen.
 */
export function retentionFor(history: History, topic: string | undefined): Retention | false {
  let plan = compiled.get(history);
  if (plan === undefined) {
    plan = compile(history);
    compiled.set(history, plan);
  }
  if (topic === undefined) return plan.standard;
  const exception = plan.exceptions.find(({ matches }) => matches(topic));
  return exception === undefined ? plan.standard : exception.retention;
}

function compile({ enabled, maxEntries, ttl, topics }: History): CompiledHistory {
  if (!enabled) return { standard: false, exceptions: [] };
  const exceptions = Object.entries(topics).map(([pattern, own]) => ({
    matches: topicPattern(pattern),
    retention:
      own !== false &&
      Object.freeze({ maxEntries: own.maxEntries ?? maxEntries, ttl: own.ttl ?? ttl }),
  }));
  return { standard: Object.freeze({ maxEntries, ttl }), exceptions };
}
