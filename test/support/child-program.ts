import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A Node program of this project in a process of its own. */
export class ChildProgram {
  /** Everything it has written so far. */
  output = '';
  #exit: Promise<number | null>;

  private constructor(readonly process: ChildProcess) {
    process.stdout?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    process.stderr?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.#exit = new Promise(resolve => process.once('exit', resolve));
  }

  /** @param path below `dist`, for example `examples/01-one-process/main.js` */
  static start(
    path: string,
    env: Readonly<Record<string, string>> = {},
    nodeFlags: readonly string[] = [],
  ): ChildProgram {
    const program = fileURLToPath(new URL(`../../${path}`, import.meta.url));
    const child = spawn(process.execPath, [...nodeFlags, program], {
      env: { PATH: process.env['PATH'] ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    return new ChildProgram(child);
  }

  /** Resolves with the first match in its output. Rejects when it exits before. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      await Promise.race([
        once(this.process.stdout ?? this.process, 'data'),
        this.#exit.then(code => {
          throw new Error(`exited with ${String(code)} before it printed ${String(pattern)}:\n${this.output}`);
        }),
      ]);
    }
  }

  /** Asks the program over IPC and resolves with its answer. */
  async ask<T>(question: object): Promise<T> {
    const answered = once(this.process, 'message') as Promise<[T]>;
    this.process.send(question);
    const [answer] = await Promise.race([
      answered,
      this.#exit.then(code => {
        throw new Error(`exited with ${String(code)} instead of answering:\n${this.output}`);
      }),
    ]);
    return answer;
  }

  /** Sends a signal and resolves with the exit code, `null` when the signal killed it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.process.kill(signal);
    return this.#exit;
  }

  /** Resolves with the exit code. */
  get exited(): Promise<number | null> {
    return this.#exit;
  }
}
