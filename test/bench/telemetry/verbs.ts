import { context, metrics, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import type { Telemetry } from '../../../src/contracts/telemetry.js';
import { formatCursor } from '../../../src/protocol/cursor.js';
import { OpenTelemetry, SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { FakeConnection } from '../../support/fake-connection.js';
import { enter, isStubbed, MODES } from './modes.js';

const SLICES = 40;
const SLICE_MS = 25;
const CONNECTIONS = 1000;
const FAN_OUT = { delivered: CONNECTIONS, buffered: 0, rejected: 0 };
const DELIVERED = { outcome: 'delivered', nodeId: 'b' } as const;
const NEWS = { scope: 'topic', topic: 'news' } as const;

const mode = MODES.find(name => name === process.argv[2]) ?? 'stub';
enter(mode);
const off = { hideConnectionIds: false, baggage: false, topicsInSpanNames: false };
const settings = { nodeId: 'a', eventNames: [], formatId: formatCursor, ...off };
const telemetry: Telemetry = isStubbed(mode) ? new SilentTelemetry() : new OpenTelemetry(settings);
const { connections, events, maintenance } = telemetry;
telemetry.observe({
  connections: () => 0,
  sendBufferBytes: () => 0,
  pendingSends: () => 0,
  circuit: () => 'closed',
});
const tracer = trace.getTracer('bench');
const subject = (here: boolean) => ({ connectionId: 'c1', messageId: 'm1', event: 'tick', here });

/** The telemetry of one operation of the same name, around empty work. */
const works: Record<string, { operations: number; run(): Promise<unknown> }> = {
  'broadcast, per delivery': {
    operations: CONNECTIONS,
    run: async () => events.broadcasting('tick', () => FAN_OUT),
  },
  'publication, per delivery': { operations: CONNECTIONS + 100, run: () => publish(2) },
  'send on the node, alone': { operations: 200, run: async () => sendHere() },
  'send on the node, in a request': { operations: 200, run: () => inRequest(sendHere) },
  'send over Redis, alone': { operations: 100, run: sendThere },
  'send over Redis, in a request': { operations: 100, run: () => inRequest(sendThere) },
  'publication over Redis, per delivery': {
    operations: 100,
    run: async () => {
      await publish(2);
      maintenance.commanded('append', 1);
    },
  },
  'connect and leave': { operations: 1, run: connectAndLeave },
};

// What the SDK itself takes for its share: a send over Redis is one question and three values.
if (mode === 'sdk') {
  const histogram = metrics.getMeter('bench').createHistogram('seconds', {
    advice: { explicitBucketBoundaries: [0.001, 0.01, 0.1, 1, 10] },
  });
  const labels = { outcome: 'delivered' };
  const many = (one: () => unknown) => async (): Promise<void> => {
    for (let n = 0; n < 100; n += 1) one();
  };
  works['a question to the sampler'] = {
    operations: 100,
    run: many(() => tracer.startSpan('send', undefined, ROOT_CONTEXT).end()),
  };
  works['a value of a histogram'] = { operations: 100, run: many(() => histogram.record(0.004, labels)) };
}

const figures: Record<string, number> = {};
for (const [work, { operations, run }] of Object.entries(works)) {
  const slices: number[] = [];
  for (let slice = 0; slice < SLICES; slice += 1) slices.push((await measure(run)) / operations);
  // What else the machine does only adds.
  figures[work] = slices.sort((one, other) => one - other)[SLICES >> 2] ?? Number.NaN;
}
process.send?.(figures);
process.disconnect();

/** Microseconds of processor time for one round. */
async function measure(run: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  const deadline = performance.now() + SLICE_MS;
  let rounds = 0;
  while (performance.now() < deadline) {
    for (let n = 0; n < 10; n += 1) await run();
    rounds += 10;
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / rounds;
}

async function publish(nodes: number): Promise<void> {
  let carried: string | undefined;
  await events.publishing(NEWS, 'tick', async text => {
    carried = text;
    return { outcome: 'routed', topic: 'news' };
  });
  for (let n = 0; n < nodes; n += 1) {
    events.fanningOut({ to: NEWS, size: 200, position: undefined, trace: carried }, () => FAN_OUT);
  }
}

function sendHere(): void {
  for (let n = 0; n < 200; n += 1) {
    events.sending(subject(true), () => DELIVERED);
    events.sent('connection', 'tick', 'delivered');
  }
}

async function sendThere(): Promise<void> {
  await Promise.all(Array.from({ length: 100 }, sendOne));
  // Their answers leave together.
  maintenance.commanded('publish', 1);
}

async function sendOne(): Promise<void> {
  const message = subject(false);
  await events.sending(message, () =>
    events.routing(message, async text => {
      maintenance.commanded('send', 1);
      const arrived = { ...message, size: 200, connection: undefined, trace: text };
      events.delivering(arrived, () => ({ outcome: 'delivered' }));
      return DELIVERED;
    }),
  );
  events.sent('connection', 'tick', 'delivered');
}

async function connectAndLeave(): Promise<void> {
  const connection = new FakeConnection('c1');
  await connections.receiving({}, () =>
    connections.opening({ connectionId: 'c1', topics: ['news'], source: undefined }, async () => {
      connections.admitted(connection);
      return connection;
    }),
  );
  connections.handling(connection, () => undefined);
  connections.stopped(connection, 'client');
}

async function inRequest(work: () => unknown): Promise<void> {
  const span = tracer.startSpan('request');
  await context.with(trace.setSpan(context.active(), span), work);
  span.end();
}
