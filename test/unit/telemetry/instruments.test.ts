import { DataPointType, type HistogramMetricData } from '@opentelemetry/sdk-metrics';
import { expect } from 'chai';
import type { CircuitState } from '../../../src/contracts/policy.js';
import type { NodeGauges } from '../../../src/contracts/telemetry.js';
import { formatCursor } from '../../../src/protocol/cursor.js';
import { type MetricDefinition, METRICS } from '../../../src/telemetry/names.js';
import { OpenTelemetry } from '../../../src/telemetry/telemetry.js';
import { RecordingSdk } from '../../support/recording-sdk.js';
import { turns } from '../../support/turns.js';
import { until } from '../../support/until.js';

const NODE = { 'sse.node.id': 'node-a' };
const NEWS = { scope: 'topic', topic: 'news' } as const;

describe('metrics', () => {
  let sdk: RecordingSdk | undefined;
  let telemetry: OpenTelemetry;
  let stops: (() => void)[];

  beforeEach(() => {
    telemetry = make('node-a');
    stops = [];
  });

  afterEach(() => {
    for (const stop of stops) stop();
    sdk?.stop();
    sdk = undefined;
  });

  function make(nodeId: string): OpenTelemetry {
    const settings = { hideConnectionIds: false, eventNames: ['chat'], baggage: false, topicsInSpanNames: false };
    return new OpenTelemetry({ nodeId, formatId: formatCursor, ...settings });
  }

  function observe(gauges: Partial<NodeGauges> = {}, node = telemetry): () => void {
    const stop = node.observe({
      connections: () => 0,
      sendBufferBytes: () => 0,
      pendingSends: () => 0,
      circuit: () => 'closed',
      ...gauges,
    });
    stops.push(stop);
    return stop;
  }

  /** Makes each metric have a value. */
  async function useAll(): Promise<void> {
    const { connections, events, maintenance, traffic } = telemetry;
    const connection = { id: 'c1', openedAt: performance.now(), topics: new Set() } as never;
    connections.refused('c1', new Error('x'));
    connections.admitted(connection);
    connections.stopped(connection, 'superseded');
    await connections.replaying('c1', async () => ({ entries: 1, resets: ['GAP'] }));
    events.sent('connection', 'chat', 'delivered');
    events.fanningOut(
      { to: { scope: 'cluster' }, size: 1, position: undefined, trace: Date.now().toString(36) },
      () => ({ delivered: 1, buffered: 0, rejected: 0 }),
    );
    const subject = { connectionId: 'c1', messageId: 'm', event: 'chat', here: false };
    await events.routing(subject, async () => ({ outcome: 'not-connected' }));
    traffic.bytesWritten += 1;
    traffic.eventsDropped += 1;
    maintenance.expiring('route', () => 1);
    await maintenance.reconciling(async () => ({
      checked: 1,
      found: { ghost: 1 },
      repairs: { ghost: 1 },
    }));
    maintenance.leaked('socket', 1);
    maintenance.retrying('send', new Error('x'));
    maintenance.refusing('send', 'queue');
    maintenance.commanded('send', 1, new Error('x'));
  }

  it('are reported under the names, kinds and units of their table, all of them', async () => {
    sdk = RecordingSdk.start();
    observe();
    await useAll();
    let reported = await sdk.metrics();
    // The delay of the event loop has a value once the loop has turned for a while.
    await until(async () => {
      reported = (await sdk?.metrics()) ?? [];
      return reported.some(({ descriptor }) => descriptor.name === 'sse.eventloop.delay');
    }, 'a measured event loop');
    const definitions: MetricDefinition[] = Object.values(METRICS);
    expect(reported.map(({ descriptor }) => descriptor.name)).to.have.members(definitions.map(({ name }) => name));
    for (const { descriptor, dataPointType, dataPoints } of reported) {
      const definition = definitions.find(({ name }) => name === descriptor.name);
      if (definition === undefined) expect.fail(descriptor.name);
      const { kind, unit, description, attributes } = definition;
      expect(descriptor).to.include({ unit, description });
      expect(dataPointType, descriptor.name).to.equal({ counter: 3, updown: 3, gauge: 2, histogram: 0 }[kind]);
      const shared = kind === 'histogram' ? [] : ['sse.node.id'];
      for (const point of dataPoints) {
        expect([...shared, ...attributes]).to.include.members(Object.keys(point.attributes));
      }
    }
    expect(DataPointType).to.include({ HISTOGRAM: 0, GAUGE: 2, SUM: 3 });
  });

  it('name connections and events nowhere, unless an event is on the list', async () => {
    sdk = RecordingSdk.start();
    observe();
    await useAll();
    telemetry.events.sent('source', 'unbounded-17', 'delivered');
    const text = JSON.stringify(await sdk.metrics());
    expect(text).to.not.include('unbounded-17');
    expect(text).to.not.include('"c1"');
    expect(text).to.include('"chat"');
  });

  it('have at most as many series as docs/telemetry.md says, whatever clients and applications do', async () => {
    sdk = RecordingSdk.start();
    observe();
    await useAll();
    const { connections, events, maintenance } = telemetry;
    for (let n = 0; n < 200; n += 1) {
      const error = Object.assign(new Error('x'), { name: `Error${n}` });
      const connection = { id: `c${n}`, openedAt: 0, topics: new Set(), origin: {} } as never;
      connections.refused(`c${n}`, error);
      connections.stopped(connection, `reason-${n}`);
      maintenance.leaked(`kind-${n}`, 1);
      events.sent('connection', `event-${n}`, 'delivered');
      const trace = Date.now().toString(36);
      const to = { scope: 'topic', topic: `topic-${n}` } as const;
      events.fanningOut({ to, size: 1, position: undefined, trace }, () => ({
        delivered: 1,
        buffered: 1,
        rejected: 1,
      }));
    }
    // One event is on the list.
    const bounds: Record<string, number> = { 'sse.events.sent': 90, 'sse.deliveries': 45, 'sse.refusals': 24 };
    for (const { name, attributes } of Object.values<MetricDefinition>(METRICS)) {
      const most = bounds[name] ?? (attributes.length === 0 ? 1 : 65 * attributes.length);
      expect((await sdk.points(name)).length, name).to.be.at.most(most);
    }
  });

  it('have buckets that suit what they measure', async () => {
    sdk = RecordingSdk.start();
    observe();
    await useAll();
    const all = await sdk.metrics();
    const boundaries = (name: string): readonly number[] => {
      const data = all.find(({ descriptor }) => descriptor.name === name) as HistogramMetricData;
      return data.dataPoints[0]?.value.buckets.boundaries ?? [];
    };
    expect(boundaries('sse.delivery.latency')).to.include.members([0.001, 0.1, 10]);
    expect(boundaries('sse.route.duration')).to.include.members([0.001, 0.1, 10]);
    expect(boundaries('sse.redis.command.duration')).to.include.members([0.001, 0.1, 10]);
    expect(boundaries('sse.connection.duration')).to.include.members([1, 3600, 86_400]);
  });

  it('are there when the SDK starts long after the node, with all that was counted before', async () => {
    observe({ connections: () => 3 });
    telemetry.events.sent('connection', 'chat', 'delivered');
    telemetry.maintenance.leaked('socket', 2);
    sdk = RecordingSdk.start();
    // The next thing that happens on the node.
    telemetry.maintenance.expiring('connection', () => 0);
    expect(await sdk.value('sse.connections.active')).to.equal(3);
    const chat = { 'sse.event.name': 'chat', 'sse.outcome': 'delivered' };
    expect(await sdk.value('sse.events.sent', chat)).to.equal(1);
    expect(await sdk.value('sse.leaks', { 'sse.leak.kind': 'socket' })).to.equal(2);
  });

  it('go over to another SDK, once', async () => {
    sdk = RecordingSdk.start();
    observe({ connections: () => 3 });
    const first = sdk;
    sdk.stop();
    sdk = RecordingSdk.start();
    telemetry.maintenance.expiring('connection', () => 0);
    expect(await sdk.value('sse.connections.active')).to.equal(3);
    await first.metrics();
    await turns();
    telemetry.maintenance.leaked('socket', 1);
    expect(await first.value('sse.leaks')).to.equal(undefined);
    expect(await sdk.value('sse.leaks')).to.equal(1);
  });

  it('of two nodes in one process are distinguished', async () => {
    sdk = RecordingSdk.start();
    observe({ connections: () => 3 });
    observe({ connections: () => 5 }, make('node-b'));
    expect(await sdk.points('sse.connections.active')).to.have.deep.members([
      { value: 3, attributes: NODE },
      { value: 5, attributes: { 'sse.node.id': 'node-b' } },
    ]);
  });

  it('of a node that stopped are reported once more, and then no more', async () => {
    sdk = RecordingSdk.start();
    const stop = observe({ connections: () => 3, sendBufferBytes: () => 64 });
    expect(await sdk.value('sse.connections.active')).to.equal(3);
    telemetry.maintenance.leaked('socket', 1);
    stop();
    expect(await sdk.value('sse.leaks')).to.equal(1);
    expect(await sdk.value('sse.connections.active')).to.equal(0);
    expect(await sdk.value('sse.send_buffer.bytes')).to.equal(0);
    await turns();
    telemetry.maintenance.leaked('socket', 1);
    expect(await sdk.value('sse.leaks')).to.equal(1);
  });

  it('of a node that stopped before the SDK started are not reported', async () => {
    observe()();
    telemetry.maintenance.leaked('socket', 1);
    sdk = RecordingSdk.start();
    telemetry.maintenance.expiring('connection', () => 0);
    expect(await sdk.metrics()).to.deep.equal([]);
  });

  it('read the gauges when they are asked for, and each time anew', async () => {
    sdk = RecordingSdk.start();
    let connections = 1;
    observe({ connections: () => connections, sendBufferBytes: () => 64, pendingSends: () => 7 });
    expect(await sdk.points('sse.connections.active')).to.deep.equal([{ value: 1, attributes: NODE }]);
    connections = 2;
    expect(await sdk.value('sse.connections.active')).to.equal(2);
    expect(await sdk.value('sse.send_buffer.bytes')).to.equal(64);
    expect(await sdk.value('sse.sends.pending')).to.equal(7);
  });

  it('show the state of each circuit', async () => {
    sdk = RecordingSdk.start();
    const states: Record<string, CircuitState> = { register: 'closed', send: 'half-open' };
    observe({ circuit: kind => states[kind] ?? 'open' });
    for (const [kind, value] of Object.entries({ register: 0, send: 1, publish: 2 })) {
      expect(await sdk.value('sse.circuit.state', { 'sse.operation': kind })).to.equal(value);
    }
    const kinds = (await sdk.points('sse.circuit.state')).map(({ attributes }) => attributes['sse.operation']);
    expect(kinds).to.have.members(['register', 'replay', 'send', 'publish', 'command', 'maintenance']);
  });

  it('show the longest lag of the feed since the last look', async () => {
    sdk = RecordingSdk.start();
    observe();
    const arrive = (late: number): void => {
      const position = { epoch: 'e', ms: Date.now() - late, sequence: 1 };
      telemetry.events.fanningOut({ to: NEWS, size: 1, position, trace: undefined }, () => ({
        delivered: 0,
        buffered: 0,
        rejected: 0,
      }));
    };
    for (const late of [5000, 9000, -60_000]) arrive(late);
    expect(await sdk.value('sse.feed.lag')).to.be.within(9, 9.9);
    expect(await sdk.value('sse.feed.lag')).to.equal(0);
  });

  it('count latency by the sender’s clock, never less than nothing', async () => {
    sdk = RecordingSdk.start();
    observe();
    const arrive = (sentAt: number): void => {
      const trace = sentAt.toString(36);
      telemetry.events.fanningOut({ to: NEWS, size: 1, position: undefined, trace }, () => ({
        delivered: 0,
        buffered: 0,
        rejected: 0,
      }));
    };
    arrive(Date.now() - 3000);
    arrive(Date.now() + 60_000);
    const latency = (await sdk.metrics()).find(
      ({ descriptor }) => descriptor.name === 'sse.delivery.latency',
    ) as HistogramMetricData;
    expect(latency.dataPoints[0]?.attributes).to.deep.equal({ 'sse.scope': 'topic' });
    expect(latency.dataPoints[0]?.value).to.include({ count: 2, min: 0 });
    expect(latency.dataPoints[0]?.value.max).to.be.within(3, 3.9);
  });
});
