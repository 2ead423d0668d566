import type { z } from 'zod';
import { SseError } from '../errors.js';
import { type Contradiction, contradictions } from './contradictions.js';
import { deepFreeze } from './deep-freeze.js';
import { type EnvironmentReading, readEnvironment } from './environment.js';
import { valueAt, withValue } from './object-path.js';
import { optionProblems, placeName } from './option-problems.js';
import { optionsSchema } from './options-schema.js';
import { receivedValue } from './received-value.js';
import type { ResolvedSseOptions, SseOptions } from './sse-options.js';

/**
 * The settings in force: the environment over `input` over the defaults, validated, frozen
 * throughout. Only the environment passed in is read; both arguments stay unchanged. The result
 * depends on nothing else, except that a default `node.id` is new each time. `redis.client` is
 * passed on as given.
 * @throws SseError `INVALID_OPTION` with one line for each unknown name, wrong value and
 * contradiction. Secrets are not shown.
 */
export function resolveOptions(
  input: SseOptions = {},
  env: NodeJS.ProcessEnv = {},
): ResolvedSseOptions {
  const reading = readEnvironment(input, env);
  const parsed = optionsSchema.safeParse(reading.input);
  if (parsed.success) {
    const options = complete(parsed.data);
    const lines = [...reading.problems, ...contradictionLines(options, reading)];
    if (lines.length === 0) return deepFreeze(options, options.redis.client);
    throw invalid(lines);
  }
  const problems = optionProblems(parsed.error.issues, reading);
  // What is sound is still checked for contradictions: nobody has to start once per mistake.
  const sound = problems.reduce(
    (rest, problem) => withValue(rest, problem.path, undefined),
    reading.input,
  );
  const repaired = optionsSchema.safeParse(sound);
  const refused = problems.map(problem => problem.path.join('.'));
  throw invalid([
    ...reading.problems,
    ...problems.map(problem => problem.text),
    ...(repaired.success ? contradictionLines(complete(repaired.data), reading, refused) : []),
  ]);
}

/**
 * Gives every key a value, `undefined` included, and the one default that depends on other
 * settings.
 */
function complete(parsed: z.output<typeof optionsSchema>): ResolvedSseOptions {
  const { enabled, url, client, username, password, partitions, ...redis } = parsed.redis;
  return {
    ...parsed,
    redis: {
      ...redis,
      enabled: enabled ?? (url !== undefined || client !== undefined),
      url,
      client,
      username,
      password,
      partitions,
    },
    control: { secret: parsed.control.secret },
    resilience: withRetries(parsed),
  };
}

/** The three groups of the settings that speak of repetitions, as one pair of values for each kind of call. */
function withRetries({
  resilience,
  script,
  atomicOperation,
  reliability,
}: z.output<typeof optionsSchema>): ResolvedSseOptions['resilience'] {
  const scripts = { retries: script.retryCount, retryPause: script.retryInterval };
  return {
    register: {
      ...resilience.register,
      retries: atomicOperation.luaScriptRetryCount,
      retryPause: atomicOperation.luaScriptRetryInterval,
    },
    send: { ...resilience.send, ...scripts },
    publish: { ...resilience.publish, ...scripts },
    maintenance: {
      ...resilience.maintenance,
      retries: reliability.enabled ? reliability.cleanupRetryCount : 0,
      retryPause: reliability.cleanupRetryInterval,
    },
  };
}

/** A line for each contradiction, but none about a setting that was refused by itself. */
function contradictionLines(
  options: ResolvedSseOptions,
  reading: EnvironmentReading,
  refused: readonly string[] = [],
): string[] {
  const wasRefused = (path: string) =>
    refused.some(bad => bad === '' || path === bad || path.startsWith(`${bad}.`));
  const line = ({ paths: [path], rule }: Contradiction) => {
    const keys = path.split('.');
    const received = receivedValue(path, valueAt(options, keys));
    return `${placeName(keys, reading)} must be ${rule}, got ${received}`;
  };
  return contradictions(options)
    .filter(({ paths }) => !paths.some(wasRefused))
    .map(line);
}

function invalid(lines: readonly string[]): SseError {
  return new SseError('INVALID_OPTION', lines.join('\n'));
}
