import { EventSource } from 'eventsource';
import type { Cursor } from '../../src/contracts/events.js';
import { parseCursor } from '../../src/protocol/cursor.js';

/** What a client saw of one topic, in order. */
export type Seen =
  | { readonly is: 'event'; readonly at: Cursor; readonly data: string }
  | { readonly is: 'reset'; readonly reason: string; readonly on: Cursor | undefined };

/** A real `EventSource` that connects to any node and writes everything down. */
export class LedgerClient {
  readonly seen = new Map<string, Seen[]>();
  /** Where its first stream began; `undefined` until then. */
  start: Cursor | undefined;
  /** When each of its streams began, in milliseconds of `performance.now()`. */
  readonly connectedAt: number[] = [];
  /** When each of them was ended by its node. */
  readonly closedAt: number[] = [];
  readonly #source: EventSource;

  /** @param get asks a node for each connection */
  constructor(
    readonly id: string,
    readonly topics: readonly string[],
    get: (path: string, init: RequestInit) => Promise<Response>,
  ) {
    for (const topic of topics) this.seen.set(topic, []);
    const path = `/sse/connect/${id}?topics=${topics.join(',')}`;
    this.#source = new EventSource(`http://ledger${path}`, {
      fetch: (_url, init) => get(path, init),
    });
    this.#source.addEventListener('connected', ({ lastEventId }) => {
      this.connectedAt.push(performance.now());
      this.start ??= parseCursor(lastEventId);
    });
    this.#source.addEventListener('sse.closed', () => this.closedAt.push(performance.now()));
    this.#source.addEventListener('entry', ({ data, lastEventId }: MessageEvent) => {
      const at = parseCursor(lastEventId);
      const text = String(data);
      const [topic = ''] = text.split(' ');
      if (at !== undefined) this.seen.get(topic)?.push({ is: 'event', at, data: text });
    });
    this.#source.addEventListener('sse.reset', ({ data }: MessageEvent) => {
      const {
        reason,
        topics: resetTopics,
        resumedFrom,
      } = JSON.parse(String(data)) as {
        reason: string;
        topics: string[];
        resumedFrom: string;
      };
      const on = parseCursor(resumedFrom);
      for (const topic of resetTopics) this.seen.get(topic)?.push({ is: 'reset', reason, on });
    });
  }

  /** Whether it has a stream, as far as it knows. */
  get connected(): boolean {
    return (this.connectedAt.at(-1) ?? -1) > (this.closedAt.at(-1) ?? 0);
  }

  leave(): void {
    this.#source.close();
  }
}
