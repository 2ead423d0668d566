import { SseError, type SseErrorCode } from '../../../src/errors.js';

/** The code with which a call is refused; `undefined` when it is not. */
export function codeOf(call: () => unknown): SseErrorCode | undefined {
  try {
    call();
  } catch (error) {
    if (SseError.is(error)) return error.code;
    throw error;
  }
  return undefined;
}
