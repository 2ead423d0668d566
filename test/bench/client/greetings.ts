import type { Address } from '../bench-server.js';

/** How a client opens its stream. */
export interface Greeting {
  /** What it sends. */
  request(address: Address): string;
  /** What it answers to these bytes of a stream that is not open yet. */
  reply(bytes: Buffer): Buffer | undefined;
  /** Whether these bytes, and none before them, say that the stream is open. */
  isOpen(bytes: Buffer): boolean;
}

/** By what the server speaks. */
export const GREETINGS: Readonly<Record<NonNullable<Address['speaks']>, Greeting>> = {
  'event-stream': {
    request: ({ path, lastEventId }) =>
      `GET ${path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\nSec-Fetch-Site: same-origin\r\n` +
      (lastEventId === undefined ? '\r\n' : `Last-Event-ID: ${lastEventId}\r\n\r\n`),
    reply: () => undefined,
    isOpen: () => true,
  },
  'socket.io': {
    request: ({ path }) =>
      `GET ${path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    // To the handshake: a masked text frame, the mask zero, "40", which asks for the main namespace.
    reply: bytes => (bytes.includes('"pingInterval"') ? Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x34, 0x30]) : undefined),
    isOpen: bytes => bytes.includes('40{"sid"'),
  },
};
