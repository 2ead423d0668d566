/**
 * The clients of a benchmark, in a process of their own: sockets that send one request each and count events by looking
 * for the marker byte, which costs next to nothing beside the system call that reads it. One buffer serves them all.
 */
import { connect, type Socket } from 'node:net';
import type { Address } from '../bench-server.js';
import { MARKER } from '../servers/bench-event.js';
import { GREETINGS, type Greeting } from './greetings.js';

/** What the benchmark asks of this program; answered with the same id. */
export type ClientQuestion = { readonly id: number } & (
  | ({ readonly ask: 'open'; readonly count: number; readonly atOnce: number } & Address)
  | { readonly ask: 'completed'; readonly event: number }
  | { readonly ask: 'received' }
);

const MARKER_BYTE = MARKER.charCodeAt(0);
// A loopback address has about 28,000 ports, and those of a process that ended are not free for a minute.
const SOCKETS_PER_ADDRESS = 16_000;
const NETWORK = `127.${1 + ((process.pid >> 8) % 254)}.${process.pid % 256}`;
const buffer = Buffer.allocUnsafeSlow(256 * 1024);

/** How many connections have had the event with this number, which counts from 1. */
const receivers: number[] = [];
const waiting = new Map<number, () => void>();
const completedAt = new Map<number, number>();
const sockets: Socket[] = [];
let total = 0;

class Client {
  #events = 0;
  #opened = false;

  constructor(
    private readonly greeting: Greeting,
    private readonly onReply: (reply: Buffer) => void,
    private readonly onOpen: () => void,
  ) {}

  read(length: number): void {
    const bytes = buffer.subarray(0, length);
    if (!this.#opened) this.#greet(bytes);
    for (let at = bytes.indexOf(MARKER_BYTE); at >= 0; at = bytes.indexOf(MARKER_BYTE, at + 1)) {
      this.#events += 1;
      note(this.#events);
    }
  }

  #greet(bytes: Buffer): void {
    const reply = this.greeting.reply(bytes);
    if (reply !== undefined) this.onReply(reply);
    if (!this.greeting.isOpen(bytes)) return;
    this.#opened = true;
    this.onOpen();
  }
}

function note(event: number): void {
  total += 1;
  const count = (receivers[event] ?? 0) + 1;
  receivers[event] = count;
  if (count < sockets.length) return;
  completedAt.set(event, Number(process.hrtime.bigint()));
  waiting.get(event)?.();
}

async function open(address: Address, count: number, atOnce: number): Promise<void> {
  let started = 0;
  const worker = async (): Promise<void> => {
    while (started < count) {
      started += 1;
      await openOne(address);
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, atOnce) }, worker));
}

function openOne(address: Address): Promise<void> {
  const { port, speaks = 'event-stream' } = address;
  return new Promise((resolve, reject) => {
    const greeting = GREETINGS[speaks];
    const client = new Client(greeting, reply => socket.write(reply), resolve);
    const callback = (length: number): boolean => {
      client.read(length);
      return true;
    };
    const host = 2 + Math.floor(sockets.length / SOCKETS_PER_ADDRESS);
    const socket = connect({
      port,
      host: '127.0.0.1',
      localAddress: `${NETWORK}.${host}`,
      onread: { buffer, callback },
    });
    socket.on('error', reject);
    socket.on('close', () => process.exit(3));
    socket.write(greeting.request(address));
    sockets.push(socket);
  });
}

/** Resolves to when the last connection had this event, in nanoseconds of the monotonic clock. */
async function completed(event: number): Promise<number> {
  if (!completedAt.has(event)) await new Promise<void>(resolve => waiting.set(event, resolve));
  waiting.delete(event);
  const at = completedAt.get(event) ?? 0;
  completedAt.delete(event);
  return at;
}

async function answer(question: ClientQuestion): Promise<unknown> {
  switch (question.ask) {
    case 'open':
      return open(question, question.count, question.atOnce);
    case 'completed':
      return completed(question.event);
    case 'received':
      return total;
  }
}

process.on('message', (question: ClientQuestion) => {
  void answer(question).then(result => process.send?.({ id: question.id, answer: result }));
});
process.on('disconnect', () => process.exit());
