import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { parseCursor } from '../../src/protocol/cursor.js';
import { DemoProcess } from '../support/demo-process.js';
import { freePort } from '../support/redis/free-port.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { until } from '../support/until.js';
import { LedgerBooks, type Balance } from './ledger-books.js';
import { LedgerClient } from './ledger-client.js';

/** How many, and how fast they are sent away. */
export interface RollingPlan {
  readonly clients: number;
  readonly publishers: number;
  /** Milliseconds between two publications of one publisher. */
  readonly pace: number;
  /** `reconnect.rate`: clients per second that a drain closes. */
  readonly rate: number;
  /** `reconnect.jitter`, in milliseconds. */
  readonly jitter: number;
}

/** What was seen while each node was restarted. */
export interface RollingReport extends Balance {
  readonly published: number;
  /** Publications that got no answer; whether they were made is not known. */
  readonly unanswered: number;
  readonly exitCodes: readonly (number | null)[];
  /** Most streams that ended in a second, and most requests for a new one. */
  readonly mostClosed: number;
  readonly mostRequested: number;
  readonly reconnects: number;
  /** Requests for a stream that a draining node refused. */
  readonly refused: number;
  /** Refusals without a time to come again. */
  readonly timeless: number;
  readonly longestDrainMs: number;
  /** How late this process was at most to see what had come, in milliseconds. */
  readonly latestMs: number;
}

const NODES = ['a', 'b', 'c'];
const TOPICS = ['topic-0', 'topic-1', 'topic-2', 'topic-3'];
const SECOND = 1_000;

/**
 * Three nodes in processes of their own behind a balancer that asks the next one when one refuses, real `EventSource`
 * clients, and publishers that never stop; each node in turn gets SIGTERM and is started again.
 */
export async function runRolling(plan: RollingPlan): Promise<RollingReport> {
  const run = new RollingRun(plan);
  try {
    return await run.run();
  } finally {
    await run.close();
  }
}

class RollingRun {
  readonly #books = new LedgerBooks();
  readonly #clients: LedgerClient[] = [];
  readonly #nodes: DemoProcess[] = [];
  readonly #ports: string[] = [];
  #redis: RedisServer | undefined;
  /** When clients asked for a stream; when they got it also depends on how busy the nodes are. */
  readonly #requestedAt: number[] = [];
  #going = true;
  #number = 0;
  #unanswered = 0;
  #refused = 0;
  #timeless = 0;

  constructor(private readonly plan: RollingPlan) {}

  async run(): Promise<RollingReport> {
    this.#redis = await RedisServer.start();
    for (const [n] of NODES.entries()) this.#ports[n] = String(await freePort());
    this.#nodes.push(...(await Promise.all(NODES.map((_, n) => this.#start(n)))));
    for (let n = 0; n < this.plan.clients; n += 1) {
      const topics = [TOPICS[n % 4] ?? '', TOPICS[(n + 1) % 4] ?? ''];
      const get = (path: string, init: RequestInit) => {
        this.#requestedAt.push(performance.now());
        return this.#balance(path, init);
      };
      this.#clients.push(new LedgerClient(`client-${n}`, topics, get));
    }
    await until(() => this.#clients.every(({ connected }) => connected), 'the clients', 30_000);
    const began = performance.now();
    const lateness = monitorEventLoopDelay({ resolution: 10 });
    lateness.enable();
    const publishing = Array.from({ length: this.plan.publishers }, () => this.#publish());
    const exitCodes: (number | null)[] = [];
    let longestDrainMs = 0;
    for (const [n] of NODES.entries()) {
      const signalledAt = performance.now();
      exitCodes.push((await this.#nodes[n]?.stop('SIGTERM')) ?? null);
      longestDrainMs = Math.max(longestDrainMs, performance.now() - signalledAt);
      this.#nodes[n] = await this.#start(n);
      await until(() => this.#clients.every(({ connected }) => connected), 'them to be back', 30_000);
    }
    lateness.disable();
    this.#going = false;
    await Promise.all(publishing);
    for (const topic of TOPICS) await this.#publishOne(topic);
    const complete = (): boolean => this.#clients.every(client => this.#books.complete(client));
    await until(complete, 'the clients to have the end', 20_000).catch(() => undefined);
    const again = this.#requestedAt.filter(at => at > began);
    return {
      ...this.#books.balance(this.#clients),
      published: this.#books.count,
      unanswered: this.#unanswered,
      exitCodes,
      mostClosed: mostWithin(
        SECOND,
        this.#clients.flatMap(({ closedAt }) => closedAt),
      ),
      mostRequested: mostWithin(SECOND, again),
      reconnects: again.length,
      refused: this.#refused,
      timeless: this.#timeless,
      longestDrainMs,
      latestMs: lateness.max / 1e6,
    };
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.leave();
    await Promise.all(this.#nodes.map(node => node.stop('SIGKILL')));
    await this.#redis?.stop();
  }

  #start(n: number): Promise<DemoProcess> {
    return DemoProcess.start({
      NODE_ID: NODES[n] ?? '',
      PORT: this.#ports[n] ?? '',
      REDIS_URL: this.#redis?.url ?? '',
      SSE_RECONNECT_RETRY: '200',
      SSE_RECONNECT_JITTER: String(this.plan.jitter),
      SSE_RECONNECT_RATE: String(this.plan.rate),
      SSE_RECONNECT_REFUSAL: 'status',
    });
  }

  /** As a balancer does: what one does not take is the next one's. */
  async #balance(path: string, init: RequestInit): Promise<Response> {
    const ports = [...this.#ports].sort(() => Math.random() - 0.5);
    let last: Response | undefined;
    for (const port of ports) {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, init).catch((error: unknown) => {
        // What may have been carried out is not asked of another.
        if (init.method === 'POST' && codeOf(error) !== 'ECONNREFUSED') throw error;
      });
      if (response === undefined) continue;
      if (response.status !== 503) return response;
      this.#refused += 1;
      if (!/^[1-9]\d*$/.test(response.headers.get('Retry-After') ?? '')) this.#timeless += 1;
      await response.body?.cancel();
      last = response;
    }
    if (last === undefined) throw new Error('no node answers');
    return last;
  }

  async #publish(): Promise<void> {
    while (this.#going) {
      const topic = TOPICS[this.#number % TOPICS.length] ?? '';
      await this.#publishOne(topic).catch(() => (this.#unanswered += 1));
      await delay(this.plan.pace * (0.5 + Math.random()));
    }
  }

  /** Only what is acknowledged counts as published. */
  async #publishOne(topic: string): Promise<void> {
    this.#number += 1;
    const data = `${topic} ${this.#number}`;
    const headers = { 'Content-Type': 'text/plain' };
    const path = `/sse/topics/${topic}?event=entry`;
    const response = await this.#balance(path, { method: 'POST', headers, body: data });
    const { id } = (await response.json()) as { id?: string };
    const at = id === undefined ? undefined : parseCursor(id);
    if (response.status === 202 && at !== undefined) this.#books.publish(topic, at, data);
    else this.#unanswered += 1;
  }
}

/** Most of these moments that lie within one span. */
function mostWithin(span: number, moments: readonly number[]): number {
  const sorted = [...moments].sort((a, b) => a - b);
  let most = 0;
  for (let from = 0, to = 0; to < sorted.length; to += 1) {
    while ((sorted[to] ?? 0) - (sorted[from] ?? 0) >= span) from += 1;
    most = Math.max(most, to - from + 1);
  }
  return most;
}

/** Node's code of why a request got no answer. */
function codeOf(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error && Reflect.get(error.cause, 'code');
}
