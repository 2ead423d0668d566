import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { LocalCoordinator, MemoryBus, SseEndpoint, SseError } from '../../src/index.js';
import { KoaApp } from '../support/koa-app.js';
import { until } from '../support/until.js';
import type { ClientProgram } from './programs.js';

/** Of two, three and four bytes in UTF-8; and what is a line's end to some, but not in an event stream. */
const TEXT = 'Grüße, 世界 🌍\u2028\u2029\u0085 : "\\" end';
const STEPS = { before: 40, broken: 60, refused: 80, drained: 100 } as const;
const STEP_MS = 40_000;
const LIMITS = { takeoverLimit: 100, takeoverWindow: 30_000 };
const OPTIONS = { reconnect: { retry: 100, jitter: 0 }, connection: { heartbeat: 5_000 } } as const;

/** Runs a client through a broken connection, a refusal and a drain. @throws Error with what it did not do */
export async function follow({ command: [program, ...argv] }: ClientProgram): Promise<void> {
  const front = await Front.open();
  const child = spawn(program, [...argv, front.url], { stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    await new Scenario(front, child).run();
  } finally {
    child.kill('SIGKILL');
    await front.close();
  }
}

/** Two nodes behind one address. */
class Front {
  refusals = 0;
  /** Whether the next attempt is refused. */
  refuses = false;
  readonly #sockets = new Set<Socket>();
  #current: KoaApp;

  private constructor(
    private readonly nodes: readonly [KoaApp, KoaApp],
    private readonly server = createServer((request, response) => void this.#current.app.callback()(request, response)),
  ) {
    this.#current = nodes[0];
    server.on('connection', socket => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async open(): Promise<Front> {
    const bus = new MemoryBus();
    const opened: { front?: Front } = {};
    class Admission {
      canConnect(): boolean {
        return opened.front?.admit() ?? true;
      }
    }
    class NewsController {
      @SseEndpoint('/sse/:clientId', { topics: ['news'], guards: [Admission] })
      stream(): void {
        // Only the topic.
      }
    }
    const start = (nodeId: string): Promise<KoaApp> =>
      KoaApp.start({
        options: { ...OPTIONS, node: { id: nodeId } },
        bind: container => container.bind(Admission).toSelf(),
        controllers: [NewsController],
        overrides: { clusterCoordinator: new LocalCoordinator(nodeId, LIMITS, bus) },
      });
    const front = new Front([await start('a'), await start('b')]);
    opened.front = front;
    front.server.listen(0, '127.0.0.1');
    await once(front.server, 'listening');
    return front;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/sse/me`;
  }

  get connected(): boolean {
    return this.nodes.some(({ store }) => store.size > 0);
  }

  admit(): true {
    if (!this.refuses) return true;
    this.refuses = false;
    this.refusals += 1;
    throw new SseError('UNAVAILABLE', 'the user store does not answer');
  }

  /** Breaks every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** The first node drains, and new requests go to the second. */
  drain(): Promise<void> {
    this.#current = this.nodes[1];
    return this.nodes[0].service.drain();
  }

  async publish(event: string, data: unknown): Promise<void> {
    await this.#current.service.publish('news', event, data);
  }

  async close(): Promise<void> {
    this.cut();
    this.server.close();
    await Promise.all(this.nodes.map(node => node.close()));
  }
}

/** The life of one client. */
class Scenario {
  #printed = '';
  #errors = '';
  #published = 0;

  constructor(
    private readonly front: Front,
    private readonly child: ChildProcess,
  ) {
    child.stdout?.on('data', (chunk: Buffer) => (this.#printed += chunk.toString('latin1')));
    child.stderr?.on('data', (chunk: Buffer) => (this.#errors += chunk.toString()));
  }

  async run(): Promise<void> {
    const { front } = this;
    const exit = once(this.child, 'exit');
    await this.#until(() => front.connected, 'connects');
    await this.#publish(STEPS.before, 'receives events');
    front.cut();
    await this.#publish(STEPS.broken, 'resumes');
    front.refuses = true;
    front.cut();
    await this.#until(() => front.refusals === 1 && front.connected, 'comes back after a refusal');
    await this.#publish(STEPS.refused, 'resumes after a refusal');
    const drained = front.drain();
    await this.#publish(STEPS.drained, 'resumes on another node');
    await drained;
    await front.publish('done', {});
    const [code] = (await exit) as [number | null];
    if (code !== 0) throw new Error(`it ended with ${String(code)}: ${this.#errors}`);
    const expected = Array.from({ length: STEPS.drained }, (_, at) => ({ n: at + 1, text: TEXT }));
    const received = this.#lines().map(line => JSON.parse(line) as unknown);
    if (!isDeepStrictEqual(received, expected))
      throw new Error(`it printed ${received.length} events:\n${this.#lines().join('\n')}`);
  }

  async #publish(to: number, what: string): Promise<void> {
    while (this.#published < to) {
      this.#published += 1;
      await this.front.publish('note', { n: this.#published, text: TEXT });
    }
    await this.#until(() => this.#lines().length >= to, what);
  }

  /** Only a line feed ends a line. */
  #lines(): string[] {
    return Buffer.from(this.#printed, 'latin1').toString().split('\n').slice(0, -1);
  }

  async #until(condition: () => boolean, what: string): Promise<void> {
    await until(
      () => condition() || this.child.exitCode !== null,
      `a client that ${what}; ${this.#lines().length} events`,
      STEP_MS,
    );
    if (!condition()) throw new Error(`it ended before it ${what}: ${this.#errors}`);
  }
}
