import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { connect } from '../../src/client/index.js';

const execute = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const LONGEST_MS = 240_000;
const ANSWER_MS = 30_000;

/** What a folder of an application has: the text of each file by its path. */
export type Files = Readonly<Record<string, string | object>>;

/** A program and its arguments, in a folder. */
export type Command = readonly [program: string, ...argv: string[]];

/** One field of a table: it runs, or there is a reason why it cannot. */
export interface Cell {
  readonly row: string;
  readonly column: string;
  /** Part of the short form. */
  readonly short?: boolean;
  readonly test: (() => Promise<void>) | string;
}

/** What the quick start needs beside the library. */
const PEERS: Readonly<Record<string, string>> = {
  inversify: '*',
  'reflect-metadata': '*',
  koa: '*',
  '@opentelemetry/api': '*',
};

/** A place away from this project with the packed library, in which applications are made, installed and run. */
export class Workshop {
  private constructor(
    private readonly folder: string,
    private readonly library: string,
    /** The program of the README, which listens on the port in `PORT`. */
    readonly quickStart: string,
  ) {}

  static async open(): Promise<Workshop> {
    const folder = await mkdtemp(join(tmpdir(), 'sse-matrix-'));
    await execute('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder], { cwd: ROOT });
    const { name, version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Record<string, string>;
    const packed = join(folder, `${name ?? ''}-${version ?? ''}.tgz`);
    // Package managers keep a tarball by its name.
    const digest = createHash('sha256')
      .update(await readFile(packed))
      .digest('hex');
    const tarball = join(folder, `${digest.slice(0, 16)}.tgz`);
    await rename(packed, tarball);
    const program = await readFile(join(ROOT, 'examples/00-quick-start/main.ts'), 'utf8');
    const quickStart = program.replace('../../src/index.js', 'distributed-sse');
    return new Workshop(folder, `file:${tarball}`, quickStart);
  }

  /** The `package.json` of an application. @param packages more of them, or other versions, by name */
  manifest(packages: Readonly<Record<string, string>> = {}): object {
    const dependencies = { 'distributed-sse': this.library, ...PEERS, ...packages };
    return { name: 'application', version: '1.0.0', private: true, type: 'module', dependencies };
  }

  async application(name: string, files: Files): Promise<Application> {
    const folder = join(this.folder, name.replace(/[^\w.-]+/g, '-'));
    await mkdir(folder, { recursive: true });
    const application = new Application(folder);
    await application.write(files);
    return application;
  }

  close(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }
}

/** One folder as a user has it. */
export class Application {
  constructor(readonly folder: string) {}

  async write(files: Files): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      const file = join(this.folder, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content, null, 2));
    }
  }

  /** Resolves with its output. @throws Error with the output of a command that fails */
  async run([program, ...argv]: Command, env: NodeJS.ProcessEnv = {}): Promise<string> {
    const { stdout } = await execute(program, argv, {
      cwd: this.folder,
      env: { ...cleanEnvironment(), ...env },
      timeout: LONGEST_MS,
      maxBuffer: 64 << 20,
    }).catch((failure: unknown) => {
      const { stdout, stderr, message } = failure as { stdout?: string; stderr?: string; message: string };
      throw new Error(`${message}\n${stdout ?? ''}${stderr ?? ''}`);
    });
    return stdout;
  }

  /** Runs a program that listens on `PORT` until a client got the events of the quick start. */
  async serves([program, ...argv]: Command, env: NodeJS.ProcessEnv = {}): Promise<void> {
    const port = await freePort();
    const child = spawn(program, argv, {
      cwd: this.folder,
      env: { ...cleanEnvironment(), ...env, PORT: String(port) },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A package manager starts Node itself, and both have to end.
      detached: true,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    }
    const exited = once(child, 'exit').then(() => {
      throw new Error(`the program ended:\n${output}`);
    });
    try {
      await Promise.race([quickStartEvents(port), exited]);
    } finally {
      exited.catch(() => undefined);
      endGroup(child);
    }
  }
}

/** Resolves when a client got `welcome` and `tick`. */
async function quickStartEvents(port: number): Promise<void> {
  const stream = connect(`http://127.0.0.1:${port}/sse/me`, { delay: 50, maxDelay: 200 });
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error('no events of the quick start')), ANSWER_MS);
      let welcome = false;
      stream.on('welcome', () => (welcome = true));
      stream.on('tick', () => {
        if (welcome) resolve();
      });
    });
  } finally {
    clearTimeout(timer);
    stream.close();
  }
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

/** Of npm, when it runs this, nothing is inherited: it would name another project. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_OPTIONS$)/i.test(name)));
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** A program with decorators as Node runs it. */
export function javaScriptOf(program: string, module = ts.ModuleKind.ESNext): string {
  const { outputText } = ts.transpileModule(program, {
    compilerOptions: { module, target: ts.ScriptTarget.ES2022, experimentalDecorators: true },
  });
  return outputText;
}
