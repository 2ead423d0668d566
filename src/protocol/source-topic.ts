const PREFIX = '~';
// What the library itself puts into the log, and only at the end of a source: applications cannot name such events.
const END = Buffer.from('event: sse.');
const LOST = 'event: sse.reset\n';
const FAILED = '{"reason":"failed"}';
const LINE_FEED = 0x0a;

/** How a source ended: by itself, by throwing, or because nobody runs it any more. */
export type SourceEnding = 'completed' | 'failed' | 'lost';

/** The topic of the log that holds the events of a resumable source. No application can name it. */
export function sourceTopic(key: string): string {
  return `${PREFIX}${key}`;
}

/** Whether a topic is that of a resumable source. */
export function isSourceTopic(topic: string): boolean {
  return topic.startsWith(PREFIX);
}

/** The key of a resumable source's topic. */
export function sourceKey(topic: string): string {
  return topic.slice(PREFIX.length);
}

/** How a resumable source ended, told by an entry of the log, its id in front; `undefined` when that is not its last. */
export function endingOf(entry: Buffer): SourceEnding | undefined {
  const body = entry.indexOf(LINE_FEED) + 1;
  if (!entry.subarray(body, body + END.length).equals(END)) return undefined;
  const text = entry.toString('utf8', body);
  if (text.startsWith(LOST)) return 'lost';
  return text.includes(FAILED) ? 'failed' : 'completed';
}
