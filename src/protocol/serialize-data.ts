import { SseError } from '../errors/sse-error.js';

/**
 * The text an event carries: a string as it is, any other value as JSON.
 * @throws SseError `NOT_SERIALIZABLE` for what JSON cannot express (cycle, BigInt, `undefined`, function, symbol) and for
 * a `toJSON` or getter that throws, whose error is the cause.
 */
export function serializeData(data: unknown): string {
  if (typeof data === 'string') return data;
  let json: string | undefined;
  try {
    json = stringify(data);
  } catch (error) {
    throw new SseError('NOT_SERIALIZABLE', `data must be expressible as JSON: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  if (json === undefined) {
    throw new SseError(
      'NOT_SERIALIZABLE',
      `data must be a string or expressible as JSON, got ${typeof data}; send null or '' for no data`,
    );
  }
  return json;
}

// Its declared type leaves out what it returns for a function, a symbol or undefined.
const stringify: (value: unknown) => string | undefined = JSON.stringify;

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'its toJSON threw something that is no Error';
}
