import { setTimeout as delay } from 'node:timers/promises';
import { parseCursor } from '../../src/protocol/cursor.js';
import type { DemoProcess } from '../support/demo-process.js';
import { freePort } from '../support/redis/free-port.js';
import { until } from '../support/until.js';
import { LedgerBooks, type Balance } from './ledger-books.js';
import { LedgerClient } from './ledger-client.js';
import { clusterRedis, singleRedis, type LedgerRedis } from './ledger-redis.js';

/** How long and how hard. */
export interface LedgerPlan {
  readonly redis: 'single' | 'cluster';
  readonly seconds: number;
  readonly clients: number;
  readonly publishers: number;
  /** Milliseconds between two publications of one publisher. */
  readonly pace: number;
  /** Milliseconds between two kills of a node. */
  readonly killEvery: number;
  /**
   * Stretches without publications that are longer than the log remembers anything, in place of trims and of a loss of the data:
   * then no reset is due where nothing is missing, and each one is a failure.
   */
  readonly quiet?: boolean;
  /** It goes on for longer until so many nodes and subscriptions were killed, and so much was published. */
  readonly least?: { readonly nodes: number; readonly subscriptions: number; readonly published: number };
}

/** What happened, and whether the books balance. */
export interface LedgerReport extends Balance {
  readonly published: number;
  readonly connects: number;
  readonly nodeKills: number;
  readonly pubsubKills: number;
  readonly redisRestarts: number;
}

const TOPICS = Array.from({ length: 10 }, (_, n) => `topic-${n}`);
const PUBSUB_KILL_MS = 50;
const QUIET_PUBSUB_KILL_MS = 500;
/**
 * The times of a quiet ledger, in milliseconds: the log forgets an entry after 4 s, and last ids and its epoch after 40 s. A node or client
 * that is away for 10 s may get a reset, see docs/log.md: on a machine that stands still for as long, the ledger counts those.
 */
const QUIET = { keep: 4_000, busy: 3_000, cycle: 48_000 };
const QUIET_ENV = {
  SSE_HISTORY_TTL: String(QUIET.keep),
  SSE_MAILBOX_TTL: String(QUIET.keep),
  SSE_REDIS_CONNECTION_TTL: '15',
};
const TRIM_MS = 700;
/** Far less than an entry lives. */
const LOOK_MS = 200;
const NODES = ['a', 'b', 'c'];

const any = <T>(from: readonly T[]): T => {
  const one = from[Math.floor(Math.random() * from.length)];
  if (one === undefined) throw new Error('nothing to choose from');
  return one;
};

/** Whether a ledger has publications at a time; a quiet one has none for longer than the log remembers. */
function isBusy({ quiet = false }: LedgerPlan, ms: number): boolean {
  return !quiet || ms % QUIET.cycle < QUIET.busy;
}

/**
 * Three nodes in processes of their own and many clients that follow topics, while everything below them breaks again and
 * again: subscriptions, nodes, Redis with its data, Redis without, and streams that are trimmed. Then everything that was
 * acknowledged as published is looked for at every client. A quiet ledger keeps the data, and looks for resets without a cause.
 */
export async function runLedger(plan: LedgerPlan): Promise<LedgerReport> {
  const run = new LedgerRun(plan);
  try {
    return await run.run();
  } finally {
    await run.close();
  }
}

class LedgerRun {
  readonly #books = new LedgerBooks();
  readonly #clients: LedgerClient[] = [];
  readonly #nodes: DemoProcess[] = [];
  readonly #ports: number[] = [];
  #redis: LedgerRedis | undefined;
  #nodeKills = 0;
  #pubsubKills = 0;
  #redisRestarts = 0;
  #number = 0;
  #begin = 0;

  constructor(private readonly plan: LedgerPlan) {}

  async run(): Promise<LedgerReport> {
    const {
      seconds,
      clients,
      publishers,
      quiet = false,
      least = { nodes: 0, subscriptions: 0, published: 0 },
    } = this.plan;
    this.#redis = await (this.plan.redis === 'single' ? singleRedis() : clusterRedis());
    for (const [n] of NODES.entries()) {
      this.#ports[n] = await freePort({ bus: false });
      this.#nodes[n] = await this.#startNode(n);
    }
    for (let n = 0; n < clients; n += 1) {
      const topics = TOPICS.filter(() => Math.random() < 0.3);
      this.#clients.push(
        new LedgerClient(`client-${n}`, topics.length === 0 ? [any(TOPICS)] : topics, (path, init) =>
          fetch(any(this.#nodes).url + path, init),
        ),
      );
    }
    await until(() => this.#clients.every(({ start }) => start !== undefined), 'the clients', 30_000);

    this.#begin = performance.now();
    const end = this.#begin + seconds * 1_000;
    const going = (): boolean =>
      performance.now() < end ||
      this.#nodeKills < least.nodes ||
      this.#pubsubKills < least.subscriptions ||
      this.#books.count < least.published;
    await Promise.all([
      ...Array.from({ length: publishers }, () => this.#publish(going)),
      this.#killPubSub(going),
      this.#killNodes(going),
      quiet ? this.#look(going) : this.#trim(going),
      this.#restartRedis(seconds * 1_000),
    ]);
    // One more of each, so that a gap at the end shows.
    for (const topic of TOPICS) await this.#publishOne(topic);
    await until(
      () => this.#clients.every(client => this.#books.complete(client)),
      'the clients to have the end',
      40_000,
    ).catch(() => undefined);
    const balance = this.#books.balance(this.#clients);
    return {
      ...balance,
      failures: [...balance.failures, ...(quiet ? alarms(balance) : [])],
      published: this.#books.count,
      connects: this.#clients.reduce((sum, { connectedAt }) => sum + connectedAt.length, 0),
      nodeKills: this.#nodeKills,
      pubsubKills: this.#pubsubKills,
      redisRestarts: this.#redisRestarts,
    };
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.leave();
    await Promise.all(this.#nodes.map(node => node.stop('SIGKILL')));
    await this.#redis?.stop();
  }

  #startNode(n: number): Promise<DemoProcess> {
    if (this.#redis === undefined) throw new Error('Redis comes first');
    return this.#redis.startNode({
      NODE_ID: NODES[n] ?? '',
      PORT: String(this.#ports[n]),
      SSE_RECONNECT_RETRY: '300',
      SSE_NODE_LEASE: '3000',
      SSE_NODE_HEARTBEAT: '1000',
      ...(this.plan.quiet === true && QUIET_ENV),
    });
  }

  async #publish(going: () => boolean): Promise<void> {
    while (going()) {
      if (isBusy(this.plan, performance.now() - this.#begin)) {
        await this.#publishOne(any(TOPICS)).catch(() => undefined);
      }
      await delay(this.plan.pace * (0.5 + Math.random()));
    }
  }

  /** Only what is acknowledged counts as published. */
  async #publishOne(topic: string): Promise<void> {
    this.#number += 1;
    const data = `${topic} ${this.#number}`;
    // Until it is acknowledged.
    this.#books.doubt(data);
    const response = await fetch(`${any(this.#nodes).url}/sse/topics/${topic}?event=entry`, {
      method: 'POST',
      headers: { 'Content-Type': 'text/plain' },
      body: data,
      signal: AbortSignal.timeout(10_000),
    });
    const { id } = (await response.json()) as { id?: string };
    const at = id === undefined ? undefined : parseCursor(id);
    if (response.status === 202 && at !== undefined) this.#books.publish(topic, at, data);
  }

  async #killPubSub(going: () => boolean): Promise<void> {
    while (going()) {
      await delay(this.plan.quiet === true ? QUIET_PUBSUB_KILL_MS : PUBSUB_KILL_MS);
      this.#pubsubKills += (await this.#redis?.killPubSub()) ?? 0;
    }
  }

  async #killNodes(going: () => boolean): Promise<void> {
    for (let n = 0; going(); n = (n + 1) % NODES.length) {
      await delay(this.plan.killEvery);
      await this.#nodes[n]?.stop('SIGKILL');
      this.#nodeKills += 1;
      this.#nodes[n] = await this.#startNode(n);
    }
  }

  /** Writes down what Redis has, which no client may have got before it is forgotten. */
  async #look(going: () => boolean): Promise<void> {
    while (going()) {
      await delay(LOOK_MS);
      for (const topic of TOPICS) this.#books.keep(topic, (await this.#redis?.entries(topic)) ?? []);
    }
  }

  async #trim(going: () => boolean): Promise<void> {
    while (going()) {
      await delay(TRIM_MS * Math.random() * 2);
      await this.#redis?.trim(any(TOPICS), Math.floor(Math.random() * 20));
    }
  }

  /** Once with its data, once without; in a quiet ledger twice with its data, each time as the first event after a pause comes. */
  async #restartRedis(ms: number): Promise<void> {
    for (const keeping of [true, this.plan.quiet === true]) {
      await delay(ms / 3);
      await this.#redis?.restart(keeping);
      this.#redisRestarts += 1;
    }
  }
}

/** The resets that a quiet ledger must not have: Redis kept its data, and nothing was missing. */
function alarms({ falseAlarms, resets: { EPOCH = 0, AHEAD = 0 } }: Balance): string[] {
  const lost = EPOCH + AHEAD;
  return [
    ...(falseAlarms === 0 ? [] : [`${falseAlarms} resets where nothing is missing`]),
    ...(lost === 0 ? [] : [`${lost} resets for a log that was not lost`]),
  ];
}
