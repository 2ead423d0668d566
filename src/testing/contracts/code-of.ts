import { SseError } from '../../errors.js';

/** The SseError that the promise rejects with; `undefined` when it resolves. Any other error is thrown. */
export async function failureOf(promise: Promise<unknown>): Promise<SseError | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    if (SseError.is(error)) return error;
    throw error;
  }
}

/** The code of the SseError that the promise rejects with; `undefined` when it resolves. Any other error is thrown. */
export async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return (await failureOf(promise))?.code;
}
