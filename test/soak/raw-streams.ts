import { connect, type Socket } from 'node:net';

/** Streams of one node as plain sockets, thousands of them in one process. */
export class RawStreams {
  readonly #sockets = new Set<Socket>();

  constructor(private readonly port: number) {}

  /** How many have not ended. */
  get open(): number {
    return this.#sockets.size;
  }

  /** Resolves with the first event. Rejects when the node refuses. */
  async connect(path: string): Promise<void> {
    const socket = connect(this.port, '127.0.0.1');
    this.#sockets.add(socket);
    const gone = (): void => {
      this.#sockets.delete(socket);
      socket.destroy();
    };
    await new Promise<void>((resolve, reject) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        if (text.length < 2_000) text += chunk.toString('latin1');
        if (text.includes('event: connected')) resolve();
        // The end of a chunked body: the node keeps the socket for another request.
        if (chunk.toString('latin1').endsWith('0\r\n\r\n')) gone();
      });
      socket.on('error', gone);
      socket.on('close', () => {
        gone();
        reject(new Error(`no stream at ${path}: ${text.slice(0, 200)}`));
      });
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n`);
    });
  }

  leave(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
