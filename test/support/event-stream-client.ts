import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { until } from './until.js';

/** A request for a stream. */
export interface StreamInit {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Connections to reuse; HTTP/1.1 only. */
  readonly agent?: http.Agent;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

interface Response {
  readonly status: number;
  readonly headers: Headers;
  readonly body: NodeJS.ReadableStream;
  readonly leave: () => void;
}

/** A client that speaks HTTP/1.1 or HTTP/2 with Node's own modules and reads streams with an independent parser. */
export class EventStreamClient {
  readonly status: number;
  readonly headers: Headers;
  readonly events: EventSourceMessage[] = [];
  readonly comments: string[] = [];
  /** The body as it came. */
  text = '';
  /** How the response ended: as the protocol has it, or with a broken socket. */
  end: 'clean' | 'broken' | undefined;

  private constructor(private readonly response: Response) {
    ({ status: this.status, headers: this.headers } = response);
    const parser = createParser({
      onEvent: event => this.events.push(event),
      onComment: comment => this.comments.push(comment),
    });
    response.body.setEncoding('utf8');
    response.body.on('data', (text: string) => {
      this.text += text;
      parser.feed(text);
    });
    response.body.on('end', () => (this.end ??= 'clean'));
    response.body.on('error', () => (this.end ??= 'broken'));
    response.body.on('close', () => (this.end ??= 'broken'));
  }

  /** Resolves when the head is there; the caller looks at the status. Certificates are not checked. */
  static async open(url: string, init: StreamInit = {}): Promise<EventStreamClient> {
    return new EventStreamClient(await request1(new URL(url), init));
  }

  /** The same over HTTP/2, on a session of its own. */
  static async open2(url: string, init: StreamInit = {}): Promise<EventStreamClient> {
    return new EventStreamClient(await request2(new URL(url), init));
  }

  /** The body as JSON, once the response has ended. */
  async json(): Promise<unknown> {
    await this.ended();
    return JSON.parse(this.text);
  }

  /** The code of an error answer. */
  async errorCode(): Promise<string> {
    const { error } = (await this.json()) as { error: { code: string } };
    return error.code;
  }

  /** Resolves with the first event of that name, also one that came before. */
  async event(name: string): Promise<EventSourceMessage> {
    const find = (): EventSourceMessage | undefined => this.events.find(({ event = 'message' }) => event === name);
    await until(() => find() !== undefined || this.end !== undefined, `event ${name}`);
    const event = find();
    if (event === undefined) throw new Error(`the stream ended without an event ${name}`);
    return event;
  }

  /** Resolves with the reason of `sse.closed`. */
  async closeReason(): Promise<string> {
    return (JSON.parse((await this.event('sse.closed')).data) as { reason: string }).reason;
  }

  /** The data of all events of that name so far. */
  data(name = 'message'): string[] {
    return this.events.filter(({ event = 'message' }) => event === name).map(({ data }) => data);
  }

  /** Resolves with how the response ended. */
  async ended(): Promise<'clean' | 'broken'> {
    await until(() => this.end !== undefined, 'the end of the response');
    return this.end ?? 'broken';
  }

  /** Reads no more. */
  pause(): void {
    this.response.body.pause();
  }

  resume(): void {
    this.response.body.resume();
  }

  /** Leaves: closes the socket, or the HTTP/2 session. */
  leave(): void {
    this.response.leave();
  }
}

function request1(url: URL, { method, headers, body, agent }: StreamInit): Promise<Response> {
  const options = { method, headers, agent: agent ?? false, rejectUnauthorized: false };
  return new Promise((resolve, reject) => {
    const { request } = url.protocol === 'https:' ? https : http;
    const outgoing = request(url, options, response => {
      const { statusCode: status = 0, headers } = response;
      resolve({ status, headers, body: response, leave: () => outgoing.destroy() });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function request2(url: URL, { method = 'GET', headers, body }: StreamInit): Promise<Response> {
  return new Promise((resolve, reject) => {
    const session = http2.connect(url.origin, { rejectUnauthorized: false });
    session.on('error', reject);
    const stream = session.request({
      ':method': method,
      ':path': url.pathname + url.search,
      ...headers,
    });
    stream.on('error', reject);
    stream.on('close', () => {
      session.destroy();
    });
    stream.on('response', headers => {
      const leave = (): void => {
        session.destroy();
      };
      resolve({ status: headers[':status'] ?? 0, headers: headers, body: stream, leave });
    });
    stream.end(body);
  });
}
