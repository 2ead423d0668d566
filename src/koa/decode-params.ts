import { SseError } from '../errors/sse-error.js';

/** Decodes path parameters; the segments of a wildcard are joined by slashes. @throws SseError `INVALID_REQUEST` */
export function decodeParams(
  params: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> {
  const decoded: Record<string, string> = {};
  for (const [name, value] of Object.entries(params)) {
    if (value === undefined) continue;
    const segments = Array.isArray(value) ? value : [value];
    decoded[name] = segments.map(decode).join('/');
  }
  return decoded;
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (error) {
    throw new SseError(
      'INVALID_REQUEST',
      `the path must be percent-encoded UTF-8, got '${segment.slice(0, 80)}'`,
      { cause: error },
    );
  }
}
