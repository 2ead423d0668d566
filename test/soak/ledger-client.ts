import { EventSource } from 'eventsource';
import { parseCursor } from '../../src/protocol/cursor.js';
import type { Cursor } from '../../src/contracts/frame.js';

/** What a client saw of one topic, in order. */
export type Seen =
  | { readonly is: 'event'; readonly at: Cursor; readonly data: string }
  | { readonly is: 'reset'; readonly reason: string; readonly on: Cursor | undefined };

/** A real `EventSource` that connects to any node and writes everything down. */
export class LedgerClient {
  readonly seen = new Map<string, Seen[]>();
  /** Where its first stream began; `undefined` until then. */
  start: Cursor | undefined;
  connects = 0;
  readonly #source: EventSource;

  /** @param url chooses a node for each connection */
  constructor(
    readonly id: string,
    readonly topics: readonly string[],
    url: () => string,
  ) {
    for (const topic of topics) this.seen.set(topic, []);
    const path = `/sse/connect/${id}?topics=${topics.join(',')}`;
    this.#source = new EventSource(`http://ledger${path}`, {
      fetch: (_url, init) => fetch(url() + path, init),
    });
    this.#source.addEventListener('connected', ({ lastEventId }) => {
      this.connects += 1;
      this.start ??= parseCursor(lastEventId);
    });
    this.#source.addEventListener('entry', ({ data, lastEventId }: MessageEvent) => {
      const at = parseCursor(lastEventId);
      const text = String(data);
      const [topic = ''] = text.split(' ');
      if (at !== undefined) this.seen.get(topic)?.push({ is: 'event', at, data: text });
    });
    this.#source.addEventListener('sse.reset', ({ data }: MessageEvent) => {
      const {
        reason,
        topics: told,
        resumedFrom,
      } = JSON.parse(String(data)) as {
        reason: string;
        topics: string[];
        resumedFrom: string;
      };
      const on = parseCursor(resumedFrom);
      for (const topic of told) this.seen.get(topic)?.push({ is: 'reset', reason, on });
    });
  }

  leave(): void {
    this.#source.close();
  }
}
