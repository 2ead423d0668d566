import { connect, type Socket } from 'node:net';
import { HttpError } from './http-error.js';

const MOST = 8;
const LONGEST_MS = 60_000;

/** Clients of this node that read nothing, for the tour: a browser would read ahead on behalf of its page. */
export class SlowClients {
  readonly #sockets = new Set<Socket>();

  /**
   * Connects to a stream and leaves what it sends unread, for a minute at most.
   * @throws HttpError 429 when there are too many of them
   */
  async open(port: number, host: string, path: string): Promise<void> {
    if (this.#sockets.size >= MOST) {
      throw new HttpError(429, 'TOO_MANY_SLOW_CLIENTS', `at most ${MOST} slow clients at a time; wait a minute`);
    }
    const socket = connect({ port, host });
    this.#sockets.add(socket);
    const timer = setTimeout(() => socket.destroy(), LONGEST_MS).unref();
    socket.on('close', () => {
      clearTimeout(timer);
      this.#sockets.delete(socket);
    });
    // A socket that the server cuts is the aim of the scenario.
    socket.on('error', () => socket.destroy());
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nAccept: text/event-stream\r\n\r\n`);
    // The first bytes show that the stream is open; nothing is read from then on.
    await new Promise<void>((resolve, reject) => {
      socket.once('data', () => {
        socket.pause();
        resolve();
      });
      socket.once('close', () => reject(new HttpError(503, 'NO_STREAM', 'the slow client got no stream')));
    });
  }
}
