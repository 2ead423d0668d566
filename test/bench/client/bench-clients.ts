import { ChildProgram } from '../../support/child-program.js';
import type { Address } from '../bench-server.js';
import { Dialogue } from '../dialogue.js';

const OPENING_AT_ONCE = 64;

/** The clients of one server. */
export class BenchClients {
  readonly #dialogue: Dialogue;
  #opened = 0;

  private constructor(private readonly program: ChildProgram) {
    this.#dialogue = new Dialogue(program);
  }

  static start(): BenchClients {
    return new BenchClients(ChildProgram.start('test/bench/client/many-clients.js'));
  }

  /** Connections that are open. */
  get opened(): number {
    return this.#opened;
  }

  /** Opens so many more, `atOnce` of them at a time; resolves when each has its head. */
  async open({ port, path, speaks, lastEventId }: Address, count: number, atOnce = OPENING_AT_ONCE): Promise<void> {
    const address = { port, path, speaks, lastEventId };
    await this.#dialogue.ask({ ask: 'open', ...address, count, atOnce });
    this.#opened += count;
  }

  /** Resolves to when the last connection had its event of this number, in nanoseconds of the monotonic clock. */
  completed(event: number): Promise<number> {
    return this.#dialogue.ask({ ask: 'completed', event });
  }

  /** Events that came to all connections together. */
  received(): Promise<number> {
    return this.#dialogue.ask({ ask: 'received' });
  }

  async stop(): Promise<void> {
    await this.program.stop('SIGKILL');
  }
}
