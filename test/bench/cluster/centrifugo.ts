import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import * as http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../support/redis/free-port.js';
import { until } from '../../support/until.js';

const CHANNEL = 'bench';
const PUBLISHERS = 50;
/** Milliseconds of processor time that Linux counts in one step. */
const TICK_MS = 10;

/** A node of Centrifugo, with the program that CENTRIFUGO names. */
export class CentrifugoNode {
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: PUBLISHERS });

  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
    private readonly folder: string,
  ) {}

  /** @param kept how many publications are kept; 0: none */
  static async start(program: string, redisUrl: string, kept: number): Promise<CentrifugoNode> {
    const port = await freePort();
    const folder = await mkdtemp(join(tmpdir(), 'sse-centrifugo-'));
    const config = {
      http_server: { address: '127.0.0.1', port: String(port) },
      http_api: { insecure: true },
      log: { level: 'error' },
      engine: { type: 'redis', redis: { address: redisUrl, io_timeout: '30s' } },
      client: { insecure: true },
      uni_sse: { enabled: true },
      channel: {
        without_namespace: kept > 0 ? { history_size: kept, history_ttl: '300s', force_recovery: true } : {},
      },
    };
    const file = join(folder, 'config.json');
    await writeFile(file, JSON.stringify(config));
    const child = spawn(program, ['-c', file], { stdio: ['ignore', 'inherit', 'inherit'] });
    const node = new CentrifugoNode(child, port, folder);
    await until(async () => child.exitCode !== null || (await node.#answers()), 'Centrifugo', 15_000);
    return node;
  }

  /** Where a client subscribes; with a position it gets what was published after it. */
  path(position?: { readonly epoch: string; readonly offset: number }): string {
    const subs = { [CHANNEL]: position === undefined ? {} : { recover: true, ...position } };
    return `/connection/uni_sse?cf_connect=${encodeURIComponent(JSON.stringify({ subs }))}`;
  }

  /** The newest position. */
  async position(): Promise<{ readonly epoch: string; readonly offset: number }> {
    const answer = JSON.parse(await this.#post('history', { channel: CHANNEL, limit: 0 })) as {
      readonly result?: { readonly epoch: string; readonly offset?: number };
    };
    if (answer.result === undefined) throw new Error(`Centrifugo answered ${JSON.stringify(answer)}`);
    return { epoch: answer.result.epoch, offset: answer.result.offset ?? 0 };
  }

  /** Publishes so many, fifty at a time. */
  async publish(count: number, data: (number: number) => object): Promise<void> {
    let started = 0;
    const worker = async (): Promise<void> => {
      while (started < count) {
        started += 1;
        await this.#post('publish', { channel: CHANNEL, data: data(started) });
      }
    };
    await Promise.all(Array.from({ length: PUBLISHERS }, worker));
  }

  /** Processor time of all its threads, in microseconds. */
  cpu(): number {
    const fields =
      readFileSync(`/proc/${String(this.child.pid)}/stat`, 'utf8')
        .split(') ')[1]
        ?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS * 1_000;
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    const exit = new Promise(resolve => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await exit;
    await rm(this.folder, { recursive: true, force: true });
  }

  async #answers(): Promise<boolean> {
    return this.#post('info', {}).then(
      () => true,
      () => false,
    );
  }

  #post(method: string, body: object): Promise<string> {
    return new Promise((resolve, reject) => {
      const options = {
        host: '127.0.0.1',
        port: this.port,
        path: `/api/${method}`,
        method: 'POST',
        agent: this.#agent,
      };
      const request = http.request(options, response => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.once('end', () => {
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`Centrifugo answered ${String(response.statusCode)}: ${text}`));
        });
      });
      request.once('error', reject).end(JSON.stringify(body));
    });
  }
}
