/**
 * Ends each event's text and occurs nowhere else, framing of WebSocket included, so that a client counts events by looking
 * for one byte.
 */
export const MARKER = '|';

// The text of a small notification: with its framing about 250 bytes on the wire.
const TEXT = 'x'.repeat(190);

/** The data of one event of the benchmark. All have the same length. */
export function benchData(number: number): { readonly number: string; readonly text: string } {
  return { number: String(number).padStart(8, '0'), text: `${TEXT}${MARKER}` };
}

/** The same as event-stream text, for servers that write it themselves. */
export function benchFrame(number: number): Buffer {
  return Buffer.from(`event: tick\ndata: ${JSON.stringify(benchData(number))}\n\n`);
}

/** The data of an event of about so many bytes. */
export function dataOf(number: number, bytes: number) {
  return { number: String(number).padStart(8, '0'), text: 'x'.repeat(bytes - 60) + MARKER };
}
