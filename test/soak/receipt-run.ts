import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Receipt } from '../../src/index.js';
import { ChildProgram } from '../support/child-program.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { TcpProxy } from '../support/redis/tcp-proxy.js';
import { OUTCOMES, type Order, type Sent } from '../support/sending-node.js';
import { until } from '../support/until.js';
import { Stream } from './stream.js';

/** How much is sent, and how long Redis is well or not. */
export interface ReceiptPlan {
  readonly rate: number;
  readonly seconds: number;
  /** Milliseconds that each outage lasts, and each pause between two. */
  readonly outage: number;
  readonly pause: number;
  /** It is sent for that many seconds again until there are receipts of all of these outcomes, at most {@link ROUNDS} times. */
  readonly least?: readonly Receipt['outcome'][];
}

/** What was claimed, and whether it was true. */
export interface ReceiptReport {
  readonly receipts: Readonly<Record<string, number>>;
  /** Sends of which the client has the event, by their receipt. */
  readonly received: Readonly<Record<string, number>>;
  readonly kills: number;
  readonly freezes: number;
  readonly breaks: number;
  readonly longestMs: number;
  readonly latestMs: number;
  readonly failures: readonly string[];
}

const HERE = ['here-0', 'here-1'];
const THERE = ['there-0', 'there-1', 'there-2', 'there-3', 'there-4', 'there-5'];
const NOWHERE = ['nowhere-0', 'nowhere-1'];
const TARGETS = [...HERE, ...THERE, ...NOWHERE];
const ROUNDS = 10;
const SENDER = 'test/support/sending-node.js';

/**
 * A node sends to clients of its own, of another node, and of none, while its Redis is killed, comes back with its data, is
 * frozen, and loses its connections; then each receipt is compared with what the client it was for has got.
 */
export async function runReceipts(plan: ReceiptPlan): Promise<ReceiptReport> {
  const run = new ReceiptRun(plan);
  try {
    return await run.run();
  } finally {
    await run.close();
  }
}

/** What became of each number. */
interface Sends {
  readonly outcomes: (Receipt['outcome'] | 'unsettled')[];
  longestMs: number;
  latestMs: number;
}

class ReceiptRun {
  readonly #nodes: ChildProgram[] = [];
  readonly #streams = new Map<string, Stream>();
  #redis: RedisServer | undefined;
  #proxy: TcpProxy | undefined;
  #folder = '';
  #kills = 0;
  #freezes = 0;
  #breaks = 0;

  constructor(private readonly plan: ReceiptPlan) {}

  async run(): Promise<ReceiptReport> {
    this.#folder = await mkdtemp(join(tmpdir(), 'sse-receipts-'));
    this.#redis = await this.#startRedis(0);
    this.#proxy = await TcpProxy.to(this.#redis.port);
    const sender = await this.#node('a', this.#proxy.port);
    const owner = await this.#node('b', this.#redis.port);
    await this.#connect(sender, HERE);
    await this.#connect(owner, THERE);

    let over = false;
    const sending = this.#send(sender).finally(() => (over = true));
    await this.#breakThings(() => over);
    const sent = await sending;
    const failures: string[] = [];
    await until(() => this.#complete(sent), 'what was stored', 20_000).catch(() => undefined);
    const { receipts, received } = this.#compare(sent, failures);
    for (const [id, stream] of this.#streams) if (!stream.open) failures.push(`${id} was closed`);
    for (const { output } of this.#nodes) {
      if (/unhandled|uncaught/i.test(output)) failures.push(output.slice(-500));
    }
    return {
      receipts,
      received,
      kills: this.#kills,
      freezes: this.#freezes,
      breaks: this.#breaks,
      longestMs: sent.longestMs,
      latestMs: sent.latestMs,
      failures,
    };
  }

  async close(): Promise<void> {
    for (const stream of this.#streams.values()) stream.leave();
    await Promise.all(this.#nodes.map(node => node.stop('SIGKILL')));
    await this.#proxy?.close();
    await this.#redis?.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** What it has acknowledged it still has after it was killed. */
  #startRedis(port: number): Promise<RedisServer> {
    const args = ['--dir', this.#folder, '--appendonly', 'yes', '--appendfsync', 'always'];
    return RedisServer.start({ port, args });
  }

  async #node(NODE_ID: string, port: number): Promise<ChildProgram & { url: string }> {
    const env = {
      SSE_NODE_ID: NODE_ID,
      REDIS_URL: `redis://127.0.0.1:${port}`,
      SSE_MAILBOX_ENABLED: 'true',
      SSE_MAILBOX_MAX_ENTRIES: '100000',
    };
    const program = ChildProgram.start(SENDER, env, ['--expose-gc']);
    this.#nodes.push(program);
    const [, at = ''] = await program.printed(/^listening on (\d+)$/m);
    return Object.assign(program, { url: `http://127.0.0.1:${at}` });
  }

  async #connect({ url }: { url: string }, ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const stream = await Stream.open(url, id);
      if (stream === undefined) throw new Error(`${id} was refused`);
      this.#streams.set(id, stream);
    }
  }

  /** Sends until every wanted outcome was seen. */
  async #send(sender: ChildProgram): Promise<Sends> {
    const { rate, seconds, least = [] } = this.plan;
    const order: Order = { rate, seconds, targets: TARGETS, durableEvery: 7 };
    const sends: Sends = { outcomes: [], longestMs: 0, latestMs: 0 };
    for (let rounds = 0; rounds < ROUNDS; rounds += 1) {
      const { outcomes, longestMs, latestMs } = await sender.ask<Sent>({ ...order, first: sends.outcomes.length });
      sends.outcomes.push(...outcomes.map(at => OUTCOMES[at] ?? 'unsettled'));
      sends.longestMs = Math.max(sends.longestMs, longestMs);
      sends.latestMs = Math.max(sends.latestMs, latestMs);
      if (this.#kills > 0 && this.#freezes > 0 && least.every(outcome => sends.outcomes.includes(outcome))) break;
    }
    return sends;
  }

  async #breakThings(over: () => boolean): Promise<void> {
    const { outage, pause } = this.plan;
    while (!over()) {
      await delay(pause);
      for (let n = 0; n < 5; n += 1) {
        this.#proxy?.break();
        this.#breaks += 1;
        await delay(pause / 10);
      }
      await delay(pause);
      const port = this.#redis?.port ?? 0;
      await this.#redis?.stop();
      this.#kills += 1;
      await delay(outage);
      this.#redis = await this.#startRedis(port);
      if (over()) return;
      await delay(pause);
      this.#redis.freeze();
      this.#freezes += 1;
      await delay(outage);
      this.#redis.thaw();
    }
  }

  /** Whether everything that must come has come. */
  #complete({ outcomes }: Sends): boolean {
    const wanted = outcomes.flatMap((outcome, number) => (outcome === 'stored' ? [number] : []));
    const notes = this.#notes();
    return wanted.every(number => notes.get(number) === 1 || goesNowhere(number));
  }

  #compare({ outcomes }: Sends, failures: string[]) {
    const receipts: Record<string, number> = {};
    const received: Record<string, number> = {};
    const notes = this.#notes();
    for (const [number, outcome] of outcomes.entries()) {
      const times = notes.get(number) ?? 0;
      receipts[outcome] = (receipts[outcome] ?? 0) + 1;
      received[outcome] = (received[outcome] ?? 0) + times;
      const [least, most] = this.#mayHave(outcome, goesNowhere(number));
      if (times < least || times > most) failures.push(`${number} is ${outcome}, came ${times} times`);
    }
    return { receipts, received };
  }

  #mayHave(outcome: string, nowhere: boolean): readonly [number, number] {
    if (nowhere) return outcome === 'delivered' || outcome === 'buffered' ? [1, 0] : [0, 0];
    switch (outcome) {
      case 'delivered':
      case 'buffered':
      case 'stored':
        return [1, 1];
      case 'unknown':
        return [0, 1];
      case 'unavailable':
      case 'not-connected':
      case 'rejected':
        return [0, 0];
      default:
        return [1, 0];
    }
  }

  /** How often each number came. */
  #notes(): Map<number, number> {
    const times = new Map<number, number>();
    for (const { notes } of this.#streams.values()) {
      for (const note of notes) times.set(Number(note), (times.get(Number(note)) ?? 0) + 1);
    }
    return times;
  }
}

function goesNowhere(number: number): boolean {
  return NOWHERE.includes(TARGETS[number % TARGETS.length] ?? '');
}
