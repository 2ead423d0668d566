import type { FetchInit } from '../../src/client/index.js';

/** A server for the client of a test, without a network: each request is answered step by step. */
export class ScriptedFetch {
  readonly requests: ScriptedRequest[] = [];

  readonly fetch = (url: string, init: FetchInit): Promise<Response> => {
    const request = new ScriptedRequest(url, init);
    this.requests.push(request);
    return request.response;
  };

  /** The newest request. */
  get last(): ScriptedRequest {
    const last = this.requests.at(-1);
    if (last === undefined) throw new Error('the client has sent no request');
    return last;
  }
}

/** One request, and its answer as far as it was given. */
export class ScriptedRequest {
  readonly response: Promise<Response>;
  readonly #encoder = new TextEncoder();
  #answer: (response: Response) => void = () => undefined;
  #fail: (error: Error) => void = () => undefined;
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(
    readonly url: string,
    readonly init: FetchInit,
  ) {
    this.response = new Promise((resolve, reject) => {
      this.#answer = resolve;
      this.#fail = reject;
    });
    init.signal.addEventListener('abort', () => this.fail('aborted'));
  }

  get lastEventId(): string | undefined {
    return this.init.headers['last-event-id'];
  }

  /** Answers without a stream. */
  refuse(status: number, headers: Record<string, string> = {}): void {
    this.#answer(new Response(status === 204 ? null : 'no', { status, headers }));
  }

  /** Sends the head of a stream and its first event. */
  open(id?: string, retry?: number): void {
    this.head();
    const fields = `${id === undefined ? '' : `id: ${id}\n`}${retry === undefined ? '' : `retry: ${retry}\n`}`;
    this.send(`${fields}event: connected\ndata: {"connectionId":"c","nodeId":"n"}\n\n`);
  }

  head(): void {
    const body = new ReadableStream<Uint8Array>({ start: controller => (this.#body = controller) });
    this.#answer(new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } }));
  }

  send(text: string | Uint8Array): void {
    this.#body?.enqueue(typeof text === 'string' ? this.#encoder.encode(text) : text);
  }

  /** Sends the last event and ends the stream. */
  close(reason: string, retry?: number): void {
    this.send(`${retry === undefined ? '' : `retry: ${retry}\n`}event: sse.closed\ndata: {"reason":"${reason}"}\n\n`);
    this.end();
  }

  end(): void {
    this.#body?.close();
    this.#body = undefined;
  }

  /** Breaks the connection. */
  fail(message: string): void {
    this.#fail(new TypeError(message));
    this.#body?.error(new TypeError(message));
    this.#body = undefined;
  }
}
