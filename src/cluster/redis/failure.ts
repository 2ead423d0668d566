import { SseError } from '../../errors.js';

/** First words of Redis errors that pass by themselves. */
const PASSING: ReadonlySet<string> = new Set([
  'READONLY',
  'LOADING',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'MASTERDOWN',
  'BUSY',
]);

// Redis 6 wraps the error of a command that a script calls: "ERR Error running script (…): …: -READONLY You can't …".
const WRAPPED = /^ERR Error running script .*: -([A-Z]+) /s;

/** The error code that Redis answered with, its reply's first word; `undefined` when it did not answer. */
export function redisErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined;
  return WRAPPED.exec(error.message)?.[1] ?? error.message.split(' ', 1)[0];
}

/**
 * Any failure of a Redis call as an `SseError`, the failure itself as `cause`: `UNAVAILABLE` when there was no answer
 * (connection, timeout) or one of a Redis that is not ready to serve (replica, loading, slot on the move, busy), else
 * `INTERNAL`, which no retry cures. Without an answer the call may have been carried out: unless it is `repeatable`, the
 * error is not retryable. An `SseError` stays as it is.
 */
export function toSseError(failure: unknown, attempt: string, repeatable = true): SseError {
  if (SseError.is(failure)) return failure;
  const reason = failure instanceof Error ? failure.message : String(failure);
  if (!isPassing(failure)) {
    return new SseError('INTERNAL', `Redis must accept ${attempt}, got: ${reason}; see the cause`, {
      cause: failure,
    });
  }
  const retryable = repeatable || redisErrorCode(failure) !== undefined;
  const advice = retryable ? 'try again later' : 'it may have been carried out all the same';
  return new SseError('UNAVAILABLE', `Redis must answer ${attempt}, got: ${reason}; ${advice}`, {
    cause: failure,
    retryable,
  });
}

function isPassing(failure: unknown): boolean {
  if (!(failure instanceof Error)) return false;
  const code = redisErrorCode(failure);
  if (code !== undefined) return PASSING.has(code);
  // An error that is no reply comes from the client's connection, unless it is a mistake in a program.
  return !PROGRAM_ERRORS.has(failure.name);
}

const PROGRAM_ERRORS: ReadonlySet<string> = new Set(['TypeError', 'RangeError', 'ReferenceError']);
