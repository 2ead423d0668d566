import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './redis/free-port.js';
import { until } from './until.js';

/** An nginx of the test's own. */
export class Nginx {
  private constructor(
    readonly port: number,
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {}

  /** Whether this machine has one. @throws Error when `REQUIRE_NGINX=1` and there is none */
  static async isInstalled(): Promise<boolean> {
    try {
      await promisify(execFile)('nginx', ['-v']);
      return true;
    } catch (error) {
      if (process.env['REQUIRE_NGINX'] === '1') throw new Error('nginx is not on PATH', { cause: error });
      return false;
    }
  }

  /**
   * Starts one and waits until it answers.
   * @param http what stands in its `http` block, for a free port; `/ready` of that port must answer 204
   * @param files more files by name, in the folder to which relative paths refer
   */
  static async start(http: (port: number) => string, files: Readonly<Record<string, string>> = {}): Promise<Nginx> {
    const port = await freePort();
    const folder = await mkdtemp(join(tmpdir(), 'nginx-'));
    const all = { ...files, 'nginx.conf': configuration(folder, http(port)) };
    for (const [name, text] of Object.entries(all)) await writeFile(join(folder, name), text);
    const child = spawn('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr'], { stdio: 'ignore' });
    const exited = once(child, 'exit').then(() => {
      throw new Error('nginx exited');
    });
    await Promise.race([until(() => answers(port), 'nginx'), exited]);
    exited.catch(() => undefined);
    return new Nginx(port, child, folder);
  }

  async stop(): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.kill();
    await exited;
    await rm(this.folder, { recursive: true });
  }
}

async function answers(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/ready`)).status === 204;
  } catch {
    return false;
  }
}

function configuration(folder: string, http: string): string {
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
daemon off;
master_process off;
pid ${folder}/nginx.pid;
events { worker_connections 256; }
http {
  access_log off;
  ${paths.map(path => `${path}_temp_path ${folder}/${path};`).join('\n  ')}
  ${http}
}
`;
}
