import { ChildProgram } from '../support/child-program.js';
import type { BenchServer, MemoryUse } from './bench-server.js';
import { Dialogue } from './dialogue.js';
import type { Question } from './servers/serve.js';

/** A server that is a Node program of `test/bench/servers`. */
export class NodeServer implements BenchServer {
  readonly path = '/';
  readonly #dialogue: Dialogue;

  private constructor(
    private readonly program: ChildProgram,
    readonly port: number,
  ) {
    this.#dialogue = new Dialogue(program);
  }

  static async start(
    name: string,
    env: Readonly<Record<string, string>> = {},
    nodeFlags: readonly string[] = [],
  ): Promise<NodeServer> {
    const flags = ['--expose-gc', ...nodeFlags];
    const program = ChildProgram.start(`test/bench/servers/${name}.js`, env, flags);
    const port = Number((await program.printed(/listening on (\d+)/))[1]);
    return new NodeServer(program, port);
  }

  broadcast(count: number): Promise<number> {
    return this.#ask('broadcast', count);
  }

  async send(count: number): Promise<void> {
    await this.#ask('send', count);
  }

  cpu(): Promise<number> {
    return this.#ask('cpu');
  }

  memory(): Promise<MemoryUse> {
    return this.#ask('memory');
  }

  longestStall(): Promise<number> {
    return this.#ask('stall');
  }

  async stop(): Promise<void> {
    await this.program.stop('SIGKILL');
  }

  #ask<T>(ask: Question['ask'], count = 0): Promise<T> {
    return this.#dialogue.ask<T>({ ask, count });
  }
}
