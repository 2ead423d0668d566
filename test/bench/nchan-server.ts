import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import * as http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../support/redis/free-port.js';
import { until } from '../support/until.js';
import type { BenchServer, MemoryUse } from './bench-server.js';
import { childrenOf, processorTime, residentBytes } from './process-use.js';
import { benchData } from './servers/bench-event.js';

const MODULE = '/usr/lib/nginx/modules/ngx_nchan_module.so';
const BUFFERED_MESSAGES = 100;

/** nginx with the module nchan: one worker, one channel, published to over HTTP. */
export class NchanServer implements BenchServer {
  readonly path = '/subscribe';
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  #events = 0;

  private constructor(
    private readonly master: ChildProcess,
    private readonly worker: number,
    readonly port: number,
    private readonly folder: string,
  ) {}

  static absence(): string | undefined {
    if (process.platform !== 'linux') return 'it needs Linux';
    const how = 'apt-get install nginx-light libnginx-mod-nchan';
    if (spawnSync('nginx', ['-v']).status !== 0) return `there is no nginx on PATH (${how})`;
    return existsSync(MODULE) ? undefined : `there is no ${MODULE} (${how})`;
  }

  /** @param connections how many it has to hold */
  static async start(connections: number): Promise<NchanServer> {
    const port = await freePort();
    const folder = await mkdtemp(join(tmpdir(), 'sse-nchan-'));
    await writeFile(join(folder, 'nginx.conf'), configuration(port, folder, connections));
    const args = ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr'];
    const master = spawn('nginx', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const { pid } = master;
    if (pid === undefined) throw new Error('nginx was not started');
    await until(() => master.exitCode !== null || childrenOf(pid).length > 0, 'a worker of nginx');
    const [worker] = master.exitCode === null ? childrenOf(pid) : [];
    if (worker === undefined) throw new Error(`nginx exited with ${String(master.exitCode)}`);
    return new NchanServer(master, worker, port, folder);
  }

  async broadcast(count: number): Promise<number> {
    const startedAt = Number(process.hrtime.bigint());
    await Promise.all(Array.from({ length: count }, () => this.#publish()));
    return startedAt;
  }

  async cpu(): Promise<number> {
    return processorTime(this.worker);
  }

  async memory(): Promise<MemoryUse> {
    return { heap: 0, rss: residentBytes(this.worker) };
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    const exit = new Promise(resolve => this.master.once('exit', resolve));
    this.master.kill('SIGTERM');
    await exit;
    await rm(this.folder, { recursive: true, force: true });
  }

  #publish(): Promise<void> {
    this.#events += 1;
    // nchan adds an id to it, about as long as the name of the event that the others send.
    const body = JSON.stringify(benchData(this.#events));
    return new Promise((resolve, reject) => {
      const options = { port: this.port, path: '/publish', method: 'POST', agent: this.#agent };
      const request = http.request({ ...options, host: '127.0.0.1' }, response => {
        response.resume().once('end', () => {
          if ((response.statusCode ?? 500) < 300) resolve();
          else reject(new Error(`nchan answered ${String(response.statusCode)}`));
        });
      });
      request.once('error', reject).end(body);
    });
  }
}

function configuration(port: number, folder: string, connections: number): string {
  // It begins to close connections when a sixteenth of them is left.
  const room = Math.ceil(connections * 1.1) + 200;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
load_module ${MODULE};
daemon off;
worker_processes 1;
worker_rlimit_nofile ${room};
pid ${folder}/nginx.pid;
events { worker_connections ${room}; }
http {
  access_log off;
  ${temporary.map(name => `${name}_temp_path ${folder}/${name};`).join(' ')}
  keepalive_requests 100000000;
  nchan_message_buffer_length ${BUFFERED_MESSAGES};
  nchan_message_timeout 10s;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location = /subscribe {
      nchan_subscriber eventsource;
      nchan_channel_id bench;
      nchan_subscriber_first_message newest;
    }
    location = /publish {
      nchan_publisher;
      nchan_channel_id bench;
    }
  }
}
`;
}
