import { ChildProgram } from '../support/child-program.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { OUTCOMES, type Order, type Sent } from '../support/sending-node.js';

const MEBIBYTE = 1024 * 1024;

/** What an outage costs a node that goes on sending. */
export interface HeapReport {
  readonly receipts: Readonly<Record<string, number>>;
  /** Mebibytes of heap in use after garbage collection, every other second. */
  readonly heap: readonly number[];
  /** Mean of the last third against that of the first, in mebibytes. */
  readonly growth: number;
  readonly longestMs: number;
  readonly latestMs: number;
  readonly attained: number;
}

/** Redis is killed, or frozen, and a node goes on sending at that rate. */
export async function runHeap(how: 'killed' | 'frozen', rate: number, seconds: number): Promise<HeapReport> {
  const redis = await RedisServer.start();
  const node = ChildProgram.start('test/support/sending-node.js', { REDIS_URL: redis.url }, ['--expose-gc']);
  try {
    await node.printed(/^listening on (\d+)$/m);
    // So that the code is compiled, and everything that is made once is there.
    const order: Order = { rate, seconds: 3, targets: ['x', 'y'], durableEvery: 0 };
    if (how === 'killed') await redis.stop();
    else redis.freeze();
    await node.ask<Sent>(order);
    const { outcomes, heap, longestMs, latestMs, attained } = await node.ask<Sent>({
      ...order,
      seconds,
    });
    const receipts: Record<string, number> = {};
    for (const outcome of outcomes) {
      const name = OUTCOMES[outcome] ?? 'unsettled';
      receipts[name] = (receipts[name] ?? 0) + 1;
    }
    const third = Math.max(1, Math.floor(heap.length / 3));
    return {
      receipts,
      heap: heap.map(bytes => Math.round((bytes / MEBIBYTE) * 10) / 10),
      growth: (mean(heap.slice(-third)) - mean(heap.slice(0, third))) / MEBIBYTE,
      longestMs,
      latestMs,
      attained,
    };
  } finally {
    await node.stop('SIGKILL');
    redis.thaw();
    await redis.stop();
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
