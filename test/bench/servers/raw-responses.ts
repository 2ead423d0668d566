import type { ServerResponse } from 'node:http';
import { benchFrame } from './bench-event.js';

/** What one writes by hand: `response.write` of a buffer that was encoded once, to each response that is open. */
export class RawResponses {
  readonly #responses = new Set<ServerResponse>();
  readonly #inOrder: ServerResponse[] = [];
  #events = 0;
  #sent = 0;

  open(response: ServerResponse): void {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.flushHeaders();
    this.#responses.add(response);
    this.#inOrder.push(response);
    response.on('close', () => this.#responses.delete(response));
  }

  readonly broadcast = (): void => {
    this.#events += 1;
    const frame = benchFrame(this.#events);
    for (const response of this.#responses) response.write(frame);
  };

  readonly send = (): void => {
    this.#sent += 1;
    this.#inOrder[this.#sent % this.#inOrder.length]?.write(benchFrame(this.#sent));
  };
}
