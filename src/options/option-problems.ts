import type { z } from 'zod';
import type { EnvironmentReading } from './environment.js';
import { nearestName } from './nearest-name.js';
import { valueAt, type ObjectPath } from './object-path.js';
import { receivedValue } from './received-value.js';
import { listSettings } from './setting.js';

/** One thing that is wrong with the settings. */
interface OptionProblem {
  /** Where; the settings are sound without what is there. */
  readonly path: ObjectPath;
  /** One line: place, rule, value received. */
  readonly text: string;
}

/**
 * What the schema found, as problems in words; several findings about one value are one problem.
 */
export function optionProblems(
  issues: readonly z.core.$ZodIssue[],
  reading: EnvironmentReading,
): OptionProblem[] {
  const problems = issues.flatMap(issue => problemsOf(issue, [], reading));
  return [...new Map(problems.map(problem => [problem.text, problem])).values()];
}

/** How a message calls a place: the variable that set it, or its path. */
export function placeName(path: ObjectPath, { variables }: EnvironmentReading): string {
  for (let length = path.length; length > 0; length--) {
    const variable = variables.get(joined(path.slice(0, length)));
    if (variable !== undefined) return variable + joined(path.slice(length), true);
  }
  return path.length === 0 ? 'the options' : joined(path);
}

function problemsOf(
  issue: z.core.$ZodIssue,
  above: ObjectPath,
  reading: EnvironmentReading,
): OptionProblem[] {
  const path = [...above, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => unknownKey([...path, key], reading));
  }
  if (issue.code === 'invalid_union') {
    // The alternative of the right type, wrong only further inside, is what the caller meant.
    const meant = issue.errors.find(errors => errors.every(isFurtherInside));
    if (meant) return meant.flatMap(inner => problemsOf(inner, path, reading));
  }
  if (issue.code === 'invalid_key') {
    const key = receivedValue(joined(path), path.at(-1));
    const place = placeName(path.slice(0, -1), reading);
    return [{ path, text: `each key of ${place} must be ${issue.message}, got ${key}` }];
  }
  const received = receivedValue(joined(path), valueAt(reading.input, path));
  return [{ path, text: `${placeName(path, reading)} must be ${issue.message}, got ${received}` }];
}

function isFurtherInside(issue: z.core.$ZodIssue): boolean {
  return issue.path.length > 0 || issue.code === 'unrecognized_keys';
}

function unknownKey(path: ObjectPath, reading: EnvironmentReading): OptionProblem {
  const name = nearestName(String(path.at(-1)), knownKeys(path.slice(0, -1)));
  const hint = name === undefined ? '' : `; did you mean ${joined([...path.slice(0, -1), name])}?`;
  return { path, text: `${placeName(path, reading)} is not a setting${hint}` };
}

/** The keys that the object at the path may have. */
function knownKeys(path: ObjectPath): Set<string> {
  if (path[0] === 'history' && path[1] === 'topics') return new Set(['maxEntries', 'ttl']);
  const inside = path.length === 0 ? '' : `${joined(path)}.`;
  const paths = listSettings().map(setting => setting.path);
  return new Set(
    paths
      .filter(known => known.startsWith(inside))
      .map(known => known.slice(inside.length).split('.')[0] ?? known),
  );
}

function joined(path: ObjectPath, continued = false): string {
  return path.reduce<string>((text, key) => {
    if (typeof key !== 'string' || !/^\w{1,80}$/.test(key)) {
      return `${text}[${typeof key === 'string' ? receivedValue('key', key) : String(key)}]`;
    }
    return text === '' && !continued ? key : `${text}.${key}`;
  }, '');
}
