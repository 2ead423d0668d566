import { PerformanceObserver } from 'node:perf_hooks';
import { LocalCoordinator, MemoryConnectionStore } from '../../../src/index.js';
import { DistributedSseService } from '../../../src/node/service.js';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { formatCursor } from '../../../src/protocol/cursor.js';
import { PassthroughPolicy } from '../../../src/resilience/policies.js';
import { ConsoleLogger, OpenTelemetry, SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { OPEN_SINK } from '../../support/open-sink.js';
import { enter, isStubbed, MODES } from './modes.js';

const ROUNDS = 50;
const FEW = 100;
const MANY = 2100;

const mode = MODES.find(name => name === process.argv[2]) ?? 'stub';
enter(mode);
const collections = watchCollections();
const few = await bytesPerBroadcast(FEW);
const many = await bytesPerBroadcast(MANY);
process.send?.({
  // What a broadcast costs by itself, and what each of its deliveries adds.
  broadcast: few - ((many - few) / (MANY - FEW)) * FEW,
  delivery: (many - few) / (MANY - FEW),
  collections: collections(),
});
process.disconnect();

/** Bytes of heap that a broadcast to so many connections allocates. Run with a young generation that is never full. */
async function bytesPerBroadcast(connections: number): Promise<number> {
  const options = resolveOptions({
    connection: { heartbeat: false, maxConnections: 10_000 },
    node: { id: 'a' },
  });
  const service = new DistributedSseService({
    options,
    store: new MemoryConnectionStore(),
    coordinator: new LocalCoordinator('a', options.connection),
    policy: new PassthroughPolicy(),
    logger: new ConsoleLogger(),
    telemetry: isStubbed(mode)
      ? new SilentTelemetry()
      : new OpenTelemetry({ ...options.telemetry, nodeId: 'a', formatId: formatCursor }),
  });
  for (let n = 0; n < connections; n += 1) await service.createConnection(`c${n}`, OPEN_SINK);
  for (let round = 0; round < 200; round += 1) await broadcast(service);
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let round = 0; round < ROUNDS; round += 1) await broadcast(service);
  const after = process.memoryUsage().heapUsed;
  await service.close();
  return (after - before) / ROUNDS;
}

async function broadcast(service: DistributedSseService): Promise<void> {
  service.broadcast('tick', 'x');
  await new Promise(resolve => setImmediate(resolve));
}

/** Counts garbage collections, which would falsify the figures. */
function watchCollections(): () => number {
  let count = 0;
  const observer = new PerformanceObserver(list => {
    // Kind 4 is a full collection, which is asked for.
    for (const entry of list.getEntries()) {
      if ((entry as unknown as { detail: { kind: number } }).detail.kind === 1) count += 1;
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  return () => count;
}
