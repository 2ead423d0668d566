import { setImmediate as turn } from 'node:timers/promises';
import type { MemoryUse } from '../bench-server.js';

/** What this process holds after garbage collection. Needs `--expose-gc`. */
export async function collectedMemory(): Promise<MemoryUse> {
  for (let round = 0; round < 4; round += 1) {
    gc?.();
    await turn();
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: heapUsed, rss };
}
