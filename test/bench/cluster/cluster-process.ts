import { ChildProgram } from '../../support/child-program.js';
import { Dialogue } from '../dialogue.js';

/** One of the processes that meet in Redis. */
export class ClusterProcess {
  readonly #dialogue: Dialogue;

  private constructor(
    private readonly program: ChildProgram,
    readonly port: number,
  ) {
    this.#dialogue = new Dialogue(program);
  }

  static async start(
    name: 'library-node' | 'raw-node' | 'socket-io-node',
    env: Readonly<Record<string, string>>,
  ): Promise<ClusterProcess> {
    const program = ChildProgram.start(`test/bench/cluster/${name}.js`, env, ['--expose-gc']);
    const port = Number((await program.printed(/listening on (\d+)/))[1]);
    return new ClusterProcess(program, port);
  }

  /** Does one piece of work; resolves to the time of the call, in nanoseconds of the monotonic clock. */
  once(what: string): Promise<number> {
    return this.ask('once', what);
  }

  /** Does so many, fifty at a time; resolves to the time of the first call. */
  many(what: string, count: number): Promise<number> {
    return this.ask('many', what, count);
  }

  /** When events came since the last time this was asked. */
  arrivals(): Promise<readonly number[]> {
    return this.ask('arrivals');
  }

  /** Resolves to when that many had come since the last call. */
  arrived(count: number): Promise<number> {
    return this.ask('arrived', '', count);
  }

  /** Processor time used so far, in microseconds. */
  cpu(): Promise<number> {
    return this.ask('cpu');
  }

  ask<T>(ask: string, what = '', count = 1): Promise<T> {
    return this.#dialogue.ask<T>({ ask, what, count });
  }

  async stop(): Promise<void> {
    await this.program.stop('SIGKILL');
  }
}
