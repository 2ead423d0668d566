import type { EventSourceMessage } from 'eventsource-parser';
import type { Cursor } from '../../../src/contracts/events.js';
import { isAfter, parseCursor } from '../../../src/protocol/cursor.js';

/** Something that was published. */
export interface Published {
  readonly topic: string;
  readonly at: Cursor;
  readonly data: string;
  /** Redis has lost it since: a client may have it, and a client without it needs no reset. */
  lost: boolean;
}

/** One stream as its client saw it. */
export interface SeenStream {
  readonly topics: readonly string[];
  /** The id it came with. */
  readonly lastEventId: string | undefined;
  readonly events: readonly EventSourceMessage[];
}

/**
 * The fault of a stream, if any. A client with an id has every entry of its topics up to that id, or got a reset before.
 * Each gap gets one reset, there is no other reset, and no entry comes twice or out of order.
 */
export function faultOf(
  { topics, lastEventId, events }: SeenStream,
  published: readonly Published[],
): string | undefined {
  const after = (a: Cursor, b: Cursor): boolean =>
    a.epoch === b.epoch ? isAfter(a, b) : rank(a.epoch) > rank(b.epoch);
  const byData = new Map(published.map(entry => [entry.data, entry]));
  const start = (lastEventId === undefined ? undefined : parseCursor(lastEventId)) ?? parseCursor(events[0]?.id ?? '');
  if (start === undefined) return events.length === 0 ? undefined : 'begins nowhere';

  const own = published.filter(({ topic }) => topics.includes(topic));
  const places = new Map(topics.map(topic => [topic, start]));
  /** By topic, the position of the last reset that no entry has followed yet. */
  const resets = new Map<string, Cursor>();
  const had = new Set<Published>();
  let position: Cursor | undefined;
  let restarted = false;

  const isMissing = (entry: Published, topic: string, place: Cursor): boolean =>
    entry.topic === topic && !entry.lost && !had.has(entry) && after(entry.at, place);
  /** Entries of a topic behind its position that the client has not got, up to an id. */
  const missing = (topic: string, completeTo: Cursor): Published[] => {
    const place = places.get(topic) ?? start;
    return own.filter(entry => isMissing(entry, topic, place) && !after(entry.at, completeTo));
  };

  for (const { event = 'message', id, data } of events) {
    const at = id === undefined ? undefined : parseCursor(id);
    if (event === 'sse.reset') {
      const reset = JSON.parse(data) as { reason: string; topics: string[]; resumedFrom: string };
      const on = parseCursor(reset.resumedFrom);
      if (on === undefined) return `got a reset without a position`;
      if (reset.reason === 'EPOCH' || reset.reason === 'AHEAD') {
        position = on;
        restarted = true;
        had.clear();
        resets.clear();
      }
      for (const topic of reset.topics) {
        const former = resets.get(topic);
        // Two adjacent gaps get a reset each, but one gap gets no second reset.
        if (former !== undefined && !own.some(entry => isMissing(entry, topic, former)))
          return `got two resets for one gap in ${topic}`;
        resets.set(topic, on);
      }
    } else if (event === 'message') {
      const entry = byData.get(data);
      if (entry === undefined || at === undefined) return `got ${data}, which was not published`;
      if (!topics.includes(entry.topic)) return `got ${data} of a topic it does not follow`;
      if (had.has(entry)) return `got ${data} twice`;
      if (position !== undefined && !after(at, position)) return `got ${data} behind its cursor`;
      const before = missing(entry.topic, at).filter(other => other !== entry);
      const hadReset = resets.delete(entry.topic);
      if (before.length > 0 && !hadReset) return `got no reset although ${before[0]?.data} is missing`;
      const lost = own.some(({ topic, lost }) => topic === entry.topic && lost);
      if (before.length === 0 && hadReset && !restarted && !lost) return `got a reset without a gap before ${data}`;
      had.add(entry);
      places.set(entry.topic, at);
      if (resets.size === 0) restarted = false;
    }
    if (at === undefined) continue;
    position = at;
    for (const topic of topics) {
      const [first] = missing(topic, at);
      if (first === undefined || resets.has(topic)) continue;
      return `reached ${id} without ${first.data}`;
    }
  }
  return undefined;
}

/** The model numbers its epochs. */
function rank(epoch: string): number {
  return Number(/\d+$/.exec(epoch)?.[0]);
}
