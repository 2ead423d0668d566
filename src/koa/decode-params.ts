import { SseError } from '../errors/sse-error.js';

/** Path parameters as path-to-regexp finds them; an optional one may be absent. */
export type PathParams = Readonly<Partial<Record<string, string>>>;

/** Decodes path parameters. @throws SseError `INVALID_REQUEST` */
export function decodeParams(params: PathParams): Record<string, string> {
  const decoded: Record<string, string> = {};
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined) decoded[name] = decode(value);
  }
  return decoded;
}

function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch (error) {
    throw new SseError(
      'INVALID_REQUEST',
      `the path must be percent-encoded UTF-8, got '${value.slice(0, 80)}'`,
      { cause: error },
    );
  }
}
