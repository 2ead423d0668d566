import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { until } from './until.js';

/** A client that writes bytes of its own choosing to a socket and keeps what comes back. */
export class RawClient {
  /** Everything received so far, one character per byte. */
  received = '';
  /** The server ended its side. */
  ended = false;
  /** The socket is gone. */
  closed = false;
  /** What broke the socket. */
  error: Error | undefined;

  private constructor(readonly socket: Socket) {
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => (this.received += text));
    socket.on('end', () => (this.ended = true));
    socket.on('close', () => (this.closed = true));
    socket.on('error', error => (this.error = error));
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1' });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** Connects and sends a request without a body. */
  static async request(
    port: number,
    path: string,
    headers: readonly string[] = [],
    method = 'GET',
  ): Promise<RawClient> {
    const client = await RawClient.connect(port);
    client.request(path, headers, method);
    return client;
  }

  request(path: string, headers: readonly string[] = [], method = 'GET'): void {
    this.send([`${method} ${path} HTTP/1.1`, 'Host: localhost', ...headers, '', ''].join('\r\n'));
  }

  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** Resolves once this has come. */
  async receives(text: string): Promise<void> {
    await until(() => this.received.includes(text) || this.closed, JSON.stringify(text));
    if (!this.received.includes(text)) {
      throw new Error(`the socket closed before ${JSON.stringify(text)}, got ${this.received}`);
    }
  }

  async isClosed(): Promise<void> {
    await until(() => this.closed, 'the end of the socket');
  }

  /** Leaves politely. */
  end(): void {
    this.socket.end();
  }

  /** Leaves with a TCP reset. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  /** Leaves at once, whatever state it is in. */
  destroy(): void {
    this.socket.destroy();
  }
}
