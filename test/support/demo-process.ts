import { ChildProgram } from './child-program.js';

const DEMO = 'examples/01-one-process/main.js';

/** The demo in a process of its own, listening. */
export class DemoProcess {
  private constructor(
    readonly program: ChildProgram,
    readonly url: string,
    readonly nodeId: string,
  ) {}

  /** @param path a program that runs the demo, below `dist` */
  static async start(env: Readonly<Record<string, string>> = {}, path = DEMO): Promise<DemoProcess> {
    const program = ChildProgram.start(path, { PORT: '0', ...env });
    const [, url = '', nodeId = ''] = await program.printed(
      /^listening on (http:\/\/\S+) node=(\S+) coordinator=\S+$/m,
    );
    return new DemoProcess(program, url, nodeId);
  }

  get port(): string {
    return new URL(this.url).port;
  }

  stop(signal?: NodeJS.Signals): Promise<number | null> {
    return this.program.stop(signal);
  }
}
