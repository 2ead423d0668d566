import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { until } from './until.js';

/** A client that reads a stream with `fetch` and an independent parser. */
export class StreamReader {
  readonly events: EventSourceMessage[] = [];
  /** The server ended the stream, or the socket broke. */
  ended = false;
  /** The last reconnection time the server asked for. */
  retry: number | undefined;

  private constructor(
    readonly response: Response,
    private readonly controller: AbortController,
  ) {
    void this.#read();
  }

  /** Resolves when the head is there; the caller looks at the status. */
  static async open(url: string, init: RequestInit = {}): Promise<StreamReader> {
    const controller = new AbortController();
    const response = await fetch(url, { ...init, signal: controller.signal });
    return new StreamReader(response, controller);
  }

  /** Resolves with the first event of that name, also one that came before. */
  async event(name: string): Promise<EventSourceMessage> {
    const find = (): EventSourceMessage | undefined => this.events.find(({ event = 'message' }) => event === name);
    await until(() => find() !== undefined || this.ended, `event ${name}`);
    const event = find();
    if (event === undefined) throw new Error(`the stream ended without an event ${name}`);
    return event;
  }

  /** Resolves when the server has ended the stream. */
  async end(): Promise<void> {
    await until(() => this.ended, 'the end of the stream');
  }

  close(): void {
    this.controller.abort();
  }

  async #read(): Promise<void> {
    const parser = createParser({
      onEvent: event => this.events.push(event),
      onRetry: retry => (this.retry = retry),
    });
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    try {
      for await (const chunk of this.response.body ?? []) {
        parser.feed(decoder.decode(chunk as Uint8Array, { stream: true }));
      }
    } catch {
      // Aborted by close(), or broken; both are an end.
    } finally {
      this.ended = true;
    }
  }
}
