const PREFIX = '~';
// What the library itself puts into the log, and only at the end of a source: applications cannot name such events.
const END = Buffer.from('event: sse.');
const LINE_FEED = 0x0a;

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

/** Whether an entry of the log, its id in front, is the last of a resumable source. */
export function endsSource(entry: Buffer): boolean {
  const body = entry.indexOf(LINE_FEED) + 1;
  return entry.subarray(body, body + END.length).equals(END);
}
