import { once } from 'node:events';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import { type AddressInfo, connect, type Server, type Socket } from 'node:net';
import * as tls from 'node:tls';
import { brotliDecompressSync, constants, gunzipSync } from 'node:zlib';
import type { ContentEncoding, StreamSettings } from '../../src/koa/socket-sink.js';
import { sinkFor } from '../../src/koa/stream-request.js';
import type { SinkClient, SinkPair } from '../../src/testing/contracts/connection-sink.js';
import { selfSigned } from './certificate.js';

/** The sink of an HTTP/1.1 request. */
export async function openHttp1(
  secure: boolean,
  detach: 'auto' | false = 'auto',
  encoding?: ContentEncoding,
): Promise<SinkPair> {
  const server = secure ? https.createServer(await selfSigned()) : http.createServer();
  const raw = await connectTo(server);
  const socket = secure ? tls.connect({ socket: raw, rejectUnauthorized: false }) : raw;
  const client = new Http1SinkClient(socket, raw);
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  return pair(server, client, { detach, keepAlive: 5_000, encoding });
}

/** The sink of an HTTP/2 request. */
export async function openHttp2(secure: boolean): Promise<SinkPair<Http2SinkClient>> {
  const server = secure ? http2.createSecureServer(await selfSigned()) : http2.createServer();
  const raw = await connectTo(server);
  const client = new Http2SinkClient(secure ? await encrypt(raw) : raw, raw);
  return pair(server, client);
}

class Http1SinkClient implements SinkClient {
  #received = '';
  #ended = false;
  #gone = false;

  constructor(
    private readonly socket: Socket,
    private readonly raw: Socket,
  ) {
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => (this.#received += text));
    socket.on('end', () => (this.#ended = true));
    socket.on('error', () => undefined);
    socket.on('close', () => (this.#gone = true));
  }

  get status(): number | undefined {
    const status = /^HTTP\/1\.1 (\d+) /.exec(this.#received)?.[1];
    return status === undefined ? undefined : Number(status);
  }

  get headers(): Record<string, string> {
    const [head = ''] = this.#received.split('\r\n\r\n', 1);
    const lines = head.split('\r\n').slice(1);
    return Object.fromEntries(
      lines.map(line => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
  }

  get body(): string {
    const end = this.#received.indexOf('\r\n\r\n');
    if (end < 0) return '';
    const { body } = unchunked(this.#received.slice(end + 4));
    return uncompressed(body, this.headers['content-encoding']);
  }

  get ended(): boolean {
    const end = this.#received.indexOf('\r\n\r\n');
    return this.#ended && unchunked(this.#received.slice(end + 4)).complete;
  }

  get gone(): boolean {
    return this.#gone;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  leave(): void {
    this.socket.end();
  }

  reset(): void {
    this.raw.resetAndDestroy();
  }
}

/** The body of chunks (RFC 9112, section 7.1), as far as they are there, and whether the last chunk is. */
export function unchunked(text: string): { body: string; complete: boolean } {
  const parts: string[] = [];
  for (let at = 0; ;) {
    const line = text.indexOf('\r\n', at);
    const size = line < 0 ? NaN : Number.parseInt(text.slice(at, line), 16);
    if (Number.isNaN(size)) return { body: parts.join(''), complete: false };
    if (size === 0) return { body: parts.join(''), complete: true };
    parts.push(text.slice(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}

/** A body that was compressed, as far as it is there. */
function uncompressed(body: string, encoding: string | undefined): string {
  if (encoding === undefined) return body;
  const bytes = Buffer.from(body, 'latin1');
  const plain =
    encoding === 'gzip'
      ? gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH })
      : brotliDecompressSync(bytes, { finishFlush: constants.BROTLI_OPERATION_FLUSH });
  return plain.toString('latin1');
}

/** A client that can also give up its stream alone. */
export class Http2SinkClient implements SinkClient {
  status: number | undefined;
  headers: Readonly<Record<string, string>> = {};
  body = '';
  ended = false;
  gone = false;
  readonly #session: http2.ClientHttp2Session;
  readonly #stream: http2.ClientHttp2Stream;

  constructor(
    socket: Socket,
    private readonly raw: Socket,
  ) {
    this.#session = http2.connect('http://localhost', { createConnection: () => socket });
    this.#session.on('error', () => undefined);
    this.#stream = this.#session.request({ ':path': '/' });
    this.#stream.setEncoding('latin1');
    this.#stream.on('response', ({ ':status': status, ...headers }) => {
      this.status = status;
      this.headers = headers as Record<string, string>;
    });
    this.#stream.on('data', (text: string) => (this.body += text));
    this.#stream.on('end', () => (this.ended = this.#stream.rstCode === 0));
    this.#stream.on('error', () => undefined);
    this.#stream.on('close', () => (this.gone = true));
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  leave(): void {
    this.#session.destroy();
  }

  reset(): void {
    this.raw.resetAndDestroy();
  }

  get sessionClosed(): boolean {
    return this.#session.destroyed;
  }

  /** Gives the stream up with an HTTP/2 error code; the session stays. */
  resetStream(code: number): void {
    this.#stream.close(code);
  }
}

async function connectTo(server: Server | http2.Http2Server): Promise<Socket> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const raw = connect((server.address() as AddressInfo).port, '127.0.0.1');
  raw.on('error', () => undefined);
  await once(raw, 'connect');
  return raw;
}

async function encrypt(socket: Socket): Promise<tls.TLSSocket> {
  const secure = tls.connect({ socket, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  await once(secure, 'secureConnect');
  return secure;
}

async function pair<Client extends SinkClient>(
  server: Server | http2.Http2Server,
  client: Client,
  settings?: StreamSettings,
): Promise<SinkPair<Client>> {
  const [request, response] = (await once(server, 'request')) as [http.IncomingMessage, http.ServerResponse];
  return {
    sink: sinkFor(request, response, settings),
    client,
    close: async () => {
      const closed = once(server, 'close');
      client.reset();
      server.close();
      await closed;
    },
  };
}
