import { TextDecoder } from 'node:util';
import { createParser } from 'eventsource-parser';

/** One thing a client notices in a stream, in order. */
export type Noticed =
  | { readonly event: string; readonly data: string; readonly id: string | undefined }
  | { readonly retry: number }
  | { readonly error: string };

/** Reads a stream as a client does: decoded piece by piece, through a parser that is not ours. */
export function readStream(chunks: Iterable<Uint8Array>): Noticed[] {
  const noticed: Noticed[] = [];
  const parser = createParser({
    onEvent: ({ event = 'message', data, id }) => noticed.push({ event, data, id }),
    onRetry: retry => noticed.push({ retry }),
    onError: ({ type }) => noticed.push({ error: type }),
  });
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  for (const chunk of chunks) parser.feed(decoder.decode(chunk, { stream: true }));
  return noticed;
}

/** The bytes in pieces, cut at these offsets modulo the length of the rest. */
export function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const offsets = cuts.map(cut => cut % (bytes.length + 1)).sort((a, b) => a - b);
  return [0, ...offsets].map((from, index) => bytes.subarray(from, offsets[index] ?? bytes.length));
}
