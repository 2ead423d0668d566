import { SseError } from '../../../src/errors.js';
import { resolveOptions, type SseOptions } from '../../../src/options/sse-options.js';

/** The message with which these settings are refused. Takes anything, as JavaScript callers may. */
export function refusal(input: unknown, env: NodeJS.ProcessEnv = {}): string {
  try {
    resolveOptions(input as SseOptions, env);
  } catch (error) {
    if (SseError.is(error, 'INVALID_OPTION')) return error.message;
    throw error;
  }
  throw new Error('the settings were not refused');
}
