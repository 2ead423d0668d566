import * as http from 'node:http';
import { createParser } from 'eventsource-parser';

/** One stream of one client, which remembers only what a ledger needs. */
export class Stream {
  /** The node that accepted it, as its first event says. */
  nodeId: string | undefined;
  /** Data of the events `note`, in order. */
  readonly notes: string[] = [];
  closeReason: string | undefined;
  ended = false;
  /** When the client itself left, in milliseconds of `performance.now()`. */
  leftAt = Infinity;
  readonly #request: http.ClientRequest;

  private constructor(
    readonly connectionId: string,
    request: http.ClientRequest,
    response: http.IncomingMessage,
  ) {
    this.#request = request;
    const parser = createParser({
      onEvent: ({ event, data }) => {
        if (event === 'note') this.notes.push(data);
        else if (event === 'connected') this.nodeId = fieldOf(data, 'nodeId');
        else if (event === 'sse.closed') this.closeReason = fieldOf(data, 'reason');
      },
    });
    response.setEncoding('utf8');
    response.on('data', (text: string) => parser.feed(text));
    response.on('error', () => undefined);
    response.on('close', () => (this.ended = true));
  }

  /** `undefined` when the node did not answer with a stream. */
  static open(url: string, connectionId: string): Promise<Stream | undefined> {
    return new Promise(resolve => {
      const request = http.get(`${url}/sse/connect/${connectionId}`, { agent: false }, response => {
        if (response.statusCode === 200) {
          resolve(new Stream(connectionId, request, response));
          return;
        }
        response.resume();
        resolve(undefined);
      });
      request.on('error', () => resolve(undefined));
    });
  }

  /** Whether it is open as far as its client knows. */
  get open(): boolean {
    return !this.ended && this.closeReason === undefined;
  }

  leave(): void {
    this.leftAt = performance.now();
    this.#request.destroy();
  }
}

function fieldOf(data: string, field: string): string {
  return String((JSON.parse(data) as Record<string, unknown>)[field]);
}
