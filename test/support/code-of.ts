import { SseError } from '../../src/errors.js';

/** The code of the SseError that the promise rejects with; `undefined` when it resolves. Any other error is thrown. */
export async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    if (SseError.is(error)) return error.code;
    throw error;
  }
}
