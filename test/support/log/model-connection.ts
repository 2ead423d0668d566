import { EventEmitter } from 'node:events';

/** What is on its way to the client. */
type Item =
  | { readonly is: 'ack'; readonly done: () => void }
  | { readonly is: 'message'; readonly channel: string; readonly bytes: Buffer };

interface Command {
  readonly is: 'subscribe' | 'unsubscribe';
  readonly channels: readonly string[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** A connection with subscriptions, as far as ours uses one, whose bytes move only when the test says so. */
export class ModelConnection extends EventEmitter {
  status: 'wait' | 'ready' | 'end' = 'wait';
  readonly #subscribed = new Set<string>();
  #up: Command[] = [];
  #pending: Command[] = [];
  #down: Item[] = [];

  constructor(private readonly onEnd: () => void) {
    super();
  }

  /** What is on its way, in both directions. */
  get underWay(): number {
    return this.#up.length + this.#down.length;
  }

  async connect(): Promise<void> {
    this.status = 'ready';
  }

  subscribe(...channels: string[]): Promise<void> {
    return this.#command('subscribe', channels);
  }

  unsubscribe(...channels: string[]): Promise<void> {
    return this.#command('unsubscribe', channels);
  }

  /** The client ends it. */
  disconnect(): void {
    this.#end();
  }

  /** The server publishes. */
  publish(channel: string, bytes: Buffer): void {
    if (this.#subscribed.has(channel)) this.#down.push({ is: 'message', channel, bytes });
  }

  /** The server carries out what the client has sent. */
  carryOut(): void {
    for (const command of this.#up.splice(0)) {
      for (const channel of command.channels) {
        if (command.is === 'subscribe') this.#subscribed.add(channel);
        else this.#subscribed.delete(channel);
      }
      this.#down.push({
        is: 'ack',
        done: () => {
          this.#pending = this.#pending.filter(other => other !== command);
          command.resolve();
        },
      });
    }
  }

  /** The client reads so many acknowledgements and messages. */
  deliver(count: number): void {
    for (const item of this.#down.splice(0, count)) {
      if (item.is === 'ack') item.done();
      else this.emit('messageBuffer', Buffer.from(item.channel), item.bytes);
    }
  }

  /** The next message vanishes, although the connection lives on. */
  drop(): void {
    const at = this.#down.findIndex(({ is }) => is === 'message');
    if (at >= 0) this.#down.splice(at, 1);
  }

  /** It breaks, and what was on its way is lost. */
  break(): void {
    if (this.status === 'end') return;
    this.#end();
    this.emit('end');
  }

  #command(is: Command['is'], channels: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const command = { is, channels, resolve, reject };
      this.#up.push(command);
      this.#pending.push(command);
    });
  }

  #end(): void {
    this.status = 'end';
    this.onEnd();
    this.#up = [];
    this.#down = [];
    for (const { reject } of this.#pending.splice(0)) reject(new Error('Connection is closed.'));
  }
}
