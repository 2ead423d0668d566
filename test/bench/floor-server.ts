import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { BenchServer, MemoryUse } from './bench-server.js';
import { processorTime, residentBytes } from './process-use.js';
import { benchFrame } from './servers/bench-event.js';

const SOURCE = fileURLToPath(new URL('../../../test/bench/servers/floor.c', import.meta.url));

/** A server in C, compiled when it is started, that writes to sockets and does nothing else. */
export class FloorServer implements BenchServer {
  readonly path = '/';
  readonly #answers = new Map<number, (answer: number) => void>();
  #last = 0;

  private constructor(
    private readonly child: ChildProcess,
    private readonly pid: number,
    readonly port: number,
    lines: Interface,
  ) {
    lines.on('line', line => {
      const [id = 0, answer = 0] = line.split(' ').map(Number);
      this.#answers.get(id)?.(answer);
      this.#answers.delete(id);
    });
    child.once('exit', code => {
      if (code !== null) throw new Error(`the floor server exited with ${code}`);
    });
  }

  static absence(): string | undefined {
    if (process.platform !== 'linux') return 'it needs Linux';
    const { status } = spawnSync('cc', ['--version']);
    return status === 0 ? undefined : 'there is no C compiler on PATH (apt-get install gcc)';
  }

  static async start(): Promise<FloorServer> {
    const folder = mkdtempSync(join(tmpdir(), 'sse-floor-'));
    const program = join(folder, 'floor');
    try {
      execFileSync('cc', ['-O2', '-o', program, SOURCE]);
      const child = spawn(program, [benchFrame(1).toString()], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      const lines = createInterface(child.stdout);
      const port = await new Promise<number>((resolve, reject) => {
        lines.once('line', line => resolve(Number(/\d+$/.exec(line)?.[0])));
        child.once('exit', code => reject(new Error(`it exited with ${String(code)}`)));
        child.once('error', reject);
      });
      if (child.pid === undefined) throw new Error('the floor server has no process id');
      return new FloorServer(child, child.pid, port, lines);
    } finally {
      // A program that runs needs its file no more.
      rmSync(folder, { recursive: true });
    }
  }

  broadcast(count: number): Promise<number> {
    return this.#order('broadcast', count);
  }

  async send(count: number): Promise<void> {
    await this.#order('send', count);
  }

  async cpu(): Promise<number> {
    return processorTime(this.pid);
  }

  async memory(): Promise<MemoryUse> {
    return { heap: 0, rss: residentBytes(this.pid) };
  }

  async stop(): Promise<void> {
    const exit = new Promise(resolve => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await exit;
  }

  #order(verb: 'broadcast' | 'send', count: number): Promise<number> {
    this.#last += 1;
    const id = this.#last;
    this.child.stdin?.write(`${id} ${verb} ${count}\n`);
    return new Promise(resolve => this.#answers.set(id, resolve));
  }
}
