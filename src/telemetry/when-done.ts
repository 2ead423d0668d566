/**
 * Runs work that answers at once or with a promise, and tells how it ended before anybody else learns of it. Answers what
 * the work answers, throws what it throws.
 */
export function whenDone<R>(
  work: () => R,
  onValue: (value: Awaited<R>) => void,
  onError: (error: unknown) => void = () => undefined,
): R {
  const fail = (error: unknown): never => {
    onError(error);
    throw error;
  };
  const pass = (value: Awaited<R>): Awaited<R> => {
    onValue(value);
    return value;
  };
  let result: R;
  try {
    result = work();
  } catch (error) {
    return fail(error);
  }
  // What is no promise is its own awaited value, and a promise of the same value is of the same type.
  return (result instanceof Promise ? result.then(pass, fail) : pass(result as Awaited<R>)) as R;
}
