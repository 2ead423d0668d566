import { context, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AlwaysOffSampler } from '@opentelemetry/sdk-trace';
import { expect } from 'chai';
import type { LibraryCloseReason } from '../../../src/close-reasons.js';
import type { ResetReason } from '../../../src/contracts/events.js';
import { SseError } from '../../../src/errors.js';
import { formatCursor, parseCursor } from '../../../src/protocol/cursor.js';
import { SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { codeOf } from '../../support/code-of.js';
import { RecordingSdk } from '../../support/recording-sdk.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

describe('telemetry of a connection', () => {
  let sdk: RecordingSdk;
  let cluster: TestCluster;
  let a: TestNode;

  beforeEach(async () => {
    sdk = RecordingSdk.start();
    cluster = new TestCluster();
    a = await cluster.started('a', { options: { onUnavailable: 'reject' } });
  });

  afterEach(async () => {
    await cluster.close();
    sdk.stop();
  });

  it('its opening is a span that ends when it is live', async () => {
    await a.connect('c1', { topics: ['news', 'sport'] });
    const { attributes, status, kind } = sdk.span('sse.connect');
    expect(attributes).to.deep.equal({
      'sse.node.id': 'a',
      'sse.connection.id': 'c1',
      'sse.topics': ['news', 'sport'],
    });
    expect(status.code).to.equal(SpanStatusCode.UNSET);
    expect(kind).to.equal(SpanKind.SERVER);
    expect(sdk.spans()).to.have.length(1);
    expect(await sdk.value('sse.connections.opened')).to.equal(1);
    expect(await sdk.value('sse.connections.active')).to.equal(1);
  });

  it('no span lasts as long as the stream', async () => {
    await a.connect('c1');
    a.service.broadcast('chat', 'hi');
    expect(sdk.spans().map(({ name }) => name)).to.deep.equal(['sse.connect', 'sse.broadcast']);
  });

  const refusals: [string, () => Promise<unknown>][] = [
    ['INVALID_TOPIC', () => a.connect('c1', { topics: ['*'] })],
    ['DRAINING', () => a.service.drain().then(() => a.connect('c1'))],
    [
      'DUPLICATE_CONNECTION',
      async () => {
        await a.connect('c1');
        sdk.forget();
        await a.connect('c1', { onDuplicate: 'reject' });
      },
    ],
    [
      'UNAVAILABLE',
      () => {
        cluster.bus.cut('a');
        return a.connect('c1').finally(() => {
          cluster.bus.heal('a');
        });
      },
    ],
  ];
  for (const [code, refused] of refusals) {
    const isServers = code === 'UNAVAILABLE';
    it(`a refusal with ${code} is ${isServers ? 'a failed' : 'no failed'} opening, and counted`, async () => {
      const got = await codeOf(refused());
      const errorType = code === 'DRAINING' ? 'CLOSED' : code;
      expect(got).to.equal(errorType);
      const { attributes, status, events } = sdk.span('sse.connect');
      expect(attributes).to.include({ 'error.type': errorType, 'sse.connection.id': 'c1' });
      expect(status.code).to.equal(isServers ? SpanStatusCode.ERROR : SpanStatusCode.UNSET);
      expect(events).to.have.length(isServers ? 1 : 0);
      const refusedCount = { 'error.type': errorType };
      expect(await sdk.value('sse.connections.refused', refusedCount)).to.equal(1);
    });
  }

  const thrown: [string, unknown, boolean][] = [
    ['CONNECTION_LIMIT', new SseError('CONNECTION_LIMIT', 'full'), false],
    ['TAKEOVER_STORM', new SseError('TAKEOVER_STORM', 'stop'), false],
    ['FORBIDDEN with status 401', new SseError('FORBIDDEN', 'who', { status: 401 }), false],
    ['FORBIDDEN with status 503', new SseError('FORBIDDEN', 'later', { status: 503 }), true],
    ['an error with status 401', Object.assign(new Error('who'), { status: 401 }), false],
    ['an error with statusCode 502', Object.assign(new Error('bad'), { statusCode: 502 }), true],
    ['INCONSISTENT', new SseError('INCONSISTENT', 'differs'), true],
    ['INTERNAL', new SseError('INTERNAL', 'broken'), true],
    ['an error without a status', new Error('broken'), true],
    ['no error', 'broken', true],
  ];
  for (const [what, error, isServers] of thrown) {
    it(`a request that is refused with ${what} is ${isServers ? 'an error' : 'no error'} of the server`, () => {
      a.telemetry.connections.refused('c1', error);
      const { attributes, status } = sdk.span('sse.connect');
      expect(attributes['error.type']).to.be.a('string');
      expect(status.code).to.equal(isServers ? SpanStatusCode.ERROR : SpanStatusCode.UNSET);
    });
  }

  it('one that opens while the cluster is away is marked, and its end is recorded as any other', async () => {
    const b = await cluster.started('b');
    cluster.bus.cut('b');
    const { connection } = await b.connect('c1');
    expect(sdk.span('sse.connect').attributes['sse.degraded']).to.equal(true);
    connection.close();
    expect(sdk.span('sse.close').links[0]?.context).to.deep.equal(sdk.span('sse.connect').spanContext());
    const node = { 'sse.node.id': 'b' };
    expect(await sdk.value('sse.connections.opened', node)).to.equal(1);
    expect(await sdk.value('sse.connections.closed', node)).to.equal(1);
    cluster.bus.heal('b');
  });

  it('a client that left before is no failure, but counted', async () => {
    const sink = new RecordingSink();
    sink.leave();
    expect(await codeOf(a.connect('c1', {}, sink))).to.equal('CONNECTION_CLOSED');
    const { attributes, status } = sdk.span('sse.connect');
    expect(attributes['error.type']).to.equal('CONNECTION_CLOSED');
    expect(status.code).to.equal(SpanStatusCode.UNSET);
    const left = { 'error.type': 'CONNECTION_CLOSED' };
    expect(await sdk.value('sse.connections.refused', left)).to.equal(1);
    expect(await sdk.value('sse.connections.opened')).to.equal(0);
    expect(await sdk.points('sse.connections.closed')).to.deep.equal([]);
  });

  const reasons: Record<LibraryCloseReason, true> = {
    client: true,
    superseded: true,
    slow: true,
    stale: true,
    idle: true,
    revoked: true,
    expired: true,
    'max-age': true,
    completed: true,
    failed: true,
    draining: true,
    shutdown: true,
    closed: true,
  };
  for (const reason of [...Object.keys(reasons), 'kicked-by-admin']) {
    it(`its end with reason ${reason} is a trace of its own, linked to its opening, and is counted`, async () => {
      const { connection } = await a.connect('c1');
      await turns();
      const connect = sdk.span('sse.connect').spanContext();
      connection.close(reason);
      const counted = { 'sse.close.reason': reason in reasons ? reason : 'custom' };
      const close = sdk.span('sse.close');
      expect(close.attributes).to.include({
        'sse.node.id': 'a',
        'sse.connection.id': 'c1',
        'sse.close.reason': reason,
      });
      expect(close.attributes['sse.connection.age']).to.be.within(0, 60);
      // A child of a span that ended hours ago would stretch the trace of the opening.
      expect(close.parentSpanContext).to.equal(undefined);
      expect(close.links.map(({ context: { spanId } }) => spanId)).to.deep.equal([connect.spanId]);
      expect(await sdk.value('sse.connections.closed', counted)).to.equal(1);
      expect(await sdk.value('sse.connection.duration', counted)).to.equal(1);
      expect(await sdk.value('sse.connections.active')).to.equal(0);
      expect(await sdk.value('sse.takeovers')).to.equal(reason === 'superseded' ? 1 : 0);
    });
  }

  it('a takeover by another node is recorded on the node that lost the connection', async () => {
    const b = await cluster.started('b');
    await a.connect('c1');
    await b.connect('c1');
    expect(sdk.span('sse.close').attributes).to.include({
      'sse.node.id': 'a',
      'sse.close.reason': 'superseded',
    });
    expect(await sdk.value('sse.takeovers', { 'sse.node.id': 'a' })).to.equal(1);
    expect(await sdk.value('sse.takeovers', { 'sse.node.id': 'b' })).to.equal(0);
  });

  describe('the cause of its end', () => {
    let other: Span;

    beforeEach(() => {
      other = trace.getTracer('test').startSpan('request');
    });

    const within = <T>(work: () => T): T => context.with(trace.setSpan(context.active(), other), work);
    /** The links but the first, which leads to the opening. */
    const causes = () => sdk.spans('sse.close').map(({ links: [, ...rest] }) => rest.map(link => link.context.spanId));
    const idOf = (span: Span): string => span.spanContext().spanId;

    it('is linked, and not its parent', async () => {
      const { connection } = await a.connect('c1');
      within(() => {
        connection.close();
      });
      expect(sdk.span('sse.close').parentSpanContext).to.equal(undefined);
      expect(causes()).to.deep.equal([[idOf(other)]]);
    });

    it('is linked on another node as well', async () => {
      const b = await cluster.started('b');
      for (const id of ['c1', 'c2', 'c3']) await b.connect(id);
      await turns();
      await within(() => a.service.closeConnection('c1', 'kicked'));
      await a.service.closeAllConnections('kicked', { cluster: true });
      const [close, all] = sdk.spans('sse.command');
      expect(close?.parentSpanContext?.spanId).to.equal(idOf(other));
      expect(causes()).to.deep.equal([close, all, all].map(span => [span?.spanContext().spanId]));
      expect(sdk.spans('sse.close').map(({ attributes }) => attributes['sse.node.id'])).to.deep.equal(['b', 'b', 'b']);
    });

    it('travels as text, which is none without a span', async () => {
      const { connection } = await a.connect('c1');
      const { connections } = a.telemetry;
      expect(connections.cause()).to.equal(undefined);
      const text = within(() => connections.cause());
      connections.closing(text, () => {
        connection.close();
        return 1;
      });
      expect(causes()).to.deep.equal([[idOf(other)]]);
    });

    it('is the opening of the connection that took its id over', async () => {
      const b = await cluster.started('b');
      await a.connect('c1');
      await a.connect('c1');
      await b.connect('c1');
      const [, second, third] = sdk.spans('sse.connect').map(span => span.spanContext().spanId);
      expect(causes()).to.deep.equal([[second], [third]]);
    });

    it('is the revocation, on each node, and on one that was cut off', async () => {
      const [b, c] = [await cluster.started('b'), await cluster.started('c')];
      for (const node of [a, b, c]) await node.connect(`alice/${node.service.nodeId}`, { user: 'alice' });
      cluster.bus.cut('c');
      await within(() => a.service.revoke({ user: 'alice' }));
      cluster.bus.heal('c');
      const revocation = sdk.span('sse.command');
      expect(revocation.parentSpanContext?.spanId).to.equal(idOf(other));
      expect(revocation.attributes['sse.command.name']).to.equal('revoke');
      expect(sdk.spans('sse.close').map(({ attributes }) => attributes['sse.node.id'])).to.deep.equal(['a', 'b', 'c']);
      expect(causes()).to.deep.equal(Array(3).fill([revocation.spanContext().spanId]));
    });

    it('is the drain', async () => {
      await a.connect('c1');
      await a.service.drain();
      expect(causes()).to.deep.equal([[sdk.span('sse.drain').spanContext().spanId]]);
    });

    it('is none when the client left, when the span has ended, and when it is not sampled', async () => {
      const { sink } = await a.connect('c1');
      within(() => {
        sink.leave();
      });
      await turns();
      const { connection } = await a.connect('c2');
      other.end();
      within(() => {
        connection.close();
      });
      const late = await a.connect('c3');
      context.with(
        trace.setSpanContext(context.active(), { ...other.spanContext(), isRemote: true, traceFlags: 0 }),
        () => {
          late.connection.close();
        },
      );
      expect(causes()).to.deep.equal([[], [], []]);
    });
  });

  it('its end is recorded when the SDK came after its opening', async () => {
    sdk.stop();
    const { connection } = await a.connect('c1');
    sdk = RecordingSdk.start();
    connection.close();
    expect(sdk.span('sse.close').links).to.deep.equal([]);
  });

  it('of which no span is recorded has no span at its end either, and counts all the same', async () => {
    sdk.stop();
    sdk = RecordingSdk.start({ sampler: new AlwaysOffSampler() });
    const { connection } = await a.connect('c1');
    connection.close();
    expect(sdk.spans()).to.deep.equal([]);
    expect(await sdk.value('sse.connections.closed')).to.equal(1);
  });

  describe('of a client that comes back', () => {
    const cursor = { epoch: 'another', ms: 1, sequence: 1 };

    it('the replay is a span inside the opening, with its number of entries', async () => {
      const { id } = await a.service.publish('news', 'chat', '0');
      for (const text of ['1', '2', '3']) await a.service.publish('news', 'chat', text);
      sdk.forget();
      await a.connect('c1', { topics: ['news'], lastEventId: id ?? '' });
      const replay = sdk.span('sse.replay');
      expect(replay.attributes).to.deep.equal({
        'sse.node.id': 'a',
        'sse.connection.id': 'c1',
        'sse.replay.entries': 3,
      });
      const connect = sdk.span('sse.connect');
      expect(replay.parentSpanContext?.spanId).to.equal(connect.spanContext().spanId);
      expect(connect.attributes['sse.replay.entries']).to.equal(3);
      expect(await sdk.value('sse.replay.entries')).to.equal(3);
      expect(await sdk.points('sse.replay.resets')).to.deep.equal([]);
    });

    it('a gap is recorded with its reason', async () => {
      await a.service.publish('news', 'chat', '0');
      sdk.forget();
      await a.connect('c1', { topics: ['news'], lastEventId: formatCursor(cursor) });
      expect(sdk.span('sse.replay').attributes).to.include({ 'sse.replay.entries': 1 });
      expect(sdk.span('sse.replay').attributes['sse.reset.reason']).to.deep.equal(['EPOCH']);
      expect(sdk.span('sse.connect').attributes['sse.reset.reason']).to.deep.equal(['EPOCH']);
      const epoch = { 'sse.reset.reason': 'EPOCH' };
      expect(await sdk.value('sse.replay.resets', epoch)).to.equal(1);
    });

    const resets: Record<ResetReason, true> = {
      GAP: true,
      EPOCH: true,
      AHEAD: true,
      OVERFLOW: true,
      PRODUCER_LOST: true,
    };
    for (const reason of Object.keys(resets) as ResetReason[]) {
      it(`a reset with reason ${reason} in an open stream is counted`, async () => {
        a.telemetry.connections.reset(reason);
        expect(await sdk.points('sse.replay.resets')).to.deep.equal([
          { value: 1, attributes: { 'sse.node.id': 'a', 'sse.reset.reason': reason } },
        ]);
      });

      it(`a reset with reason ${reason} shows in span and metric`, async () => {
        await a.telemetry.connections.replaying('c1', async () => ({
          entries: 0,
          resets: [reason],
        }));
        expect(sdk.span('sse.replay').attributes['sse.reset.reason']).to.deep.equal([reason]);
        const labels = { 'sse.reset.reason': reason };
        expect(await sdk.value('sse.replay.resets', labels)).to.equal(1);
      });
    }

    it('one without a cursor of the log has no replay', async () => {
      await a.connect('c1', { lastEventId: 'something else' });
      expect(sdk.spans('sse.replay')).to.deep.equal([]);
    });
  });

  describe('what a handler does', () => {
    const spanOf = (connection: Parameters<TestNode['telemetry']['connections']['handling']>[0]) =>
      a.telemetry.connections.handling(connection, () => trace.getSpanContext(context.active()));

    it('continues the opening, also when it is not recorded', async () => {
      const { connection } = await a.connect('c1');
      expect(spanOf(connection)?.spanId).to.equal(sdk.span('sse.connect').spanContext().spanId);
      sdk.stop();
      sdk = RecordingSdk.start({ sampler: new AlwaysOffSampler() });
      const dropped = await a.connect('c2');
      expect(spanOf(dropped.connection)?.traceFlags).to.equal(0);
    });

    it('at a gap in its open stream continues the opening as well, whatever runs there', async () => {
      let seen: string | undefined;
      await a.connect('c1', {
        topics: ['news'],
        onReset: () => {
          seen = trace.getSpanContext(context.active())?.spanId;
        },
      });
      const { id } = await a.service.publish('news', 'chat', 'x');
      const at = parseCursor(id ?? '') ?? expect.fail('no id');
      const until = { ms: at.ms, sequence: at.sequence + 1 };
      const other = trace.getTracer('test').startSpan('request');
      context.with(trace.setSpan(context.active(), other), () => {
        const topics = new Map([['news', until]]);
        a.store.get('c1')?.reportGap({ reason: 'GAP', topics, resumedFrom: at, until });
      });
      await turns();
      expect(seen).to.equal(sdk.span('sse.connect').spanContext().spanId);
    });

    it('without an SDK is in no context', async () => {
      sdk.stop();
      const { connection } = await a.connect('c1');
      expect(spanOf(connection)).to.equal(undefined);
    });
  });

  describe('a request', () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const active = (headers: Record<string, string>): string | undefined =>
      a.telemetry.connections.receiving(headers, () => trace.getSpanContext(context.active()))?.spanId;

    it('is in the trace that its headers name', () => {
      expect(active({ traceparent })).to.equal('b7ad6b7169203331');
      expect(active({})).to.equal(undefined);
      expect(active({ traceparent: 'nonsense' })).to.equal(undefined);
    });

    it('stays in the span that an instrumentation has begun', () => {
      const span = trace.getTracer('http').startSpan('GET');
      context.with(trace.setSpan(context.active(), span), () => {
        expect(active({ traceparent })).to.equal(span.spanContext().spanId);
      });
    });

    it('without an SDK is in no trace', () => {
      sdk.stop();
      expect(active({ traceparent })).to.equal(undefined);
    });
  });

  it('a node without telemetry records nothing and serves as usual', async () => {
    const { connections, events, maintenance, traffic, observe } = new SilentTelemetry();
    const { connection } = await a.connect('c1');
    sdk.forget();
    const fanOut = { delivered: 1, buffered: 0, rejected: 0 };
    const sent = { outcome: 'unknown' } as const;
    const subject = { connectionId: 'c1', messageId: 'm', event: 'e', here: true };
    const local = a.store.get('c1') ?? expect.fail('no connection');
    const arrived = { size: 1, position: undefined, trace: 'x' };
    const summary = { entries: 1, resets: [] };
    const checked = { checked: 1, found: {}, repairs: {} };
    const to = { scope: 'topic', topic: 't' } as const;
    expect([
      connections.receiving({}, () => 1),
      await connections.opening({ connectionId: 'c1', topics: [], source: undefined }, async () => local),
      await connections.replaying('c1', async () => summary),
      connections.handling(connection, () => 2),
      events.sending(subject, () => sent),
      await events.routing(subject, async text => (text === undefined ? sent : expect.fail(text))),
      events.broadcasting('e', () => fanOut),
      await events.publishing(to, 'e', async text => ({ outcome: 'routed', topic: text ?? 't' })),
      events.delivering({ ...subject, ...arrived, connection: local }, () => sent as never),
      events.fanningOut({ to, ...arrived }, () => fanOut),
      maintenance.expiring('route', () => 3),
      await maintenance.reconciling(async () => checked),
    ]).to.deep.equal([
      1,
      local,
      summary,
      2,
      sent,
      sent,
      fanOut,
      { outcome: 'routed', topic: 't' },
      sent,
      fanOut,
      3,
      checked,
    ]);
    let carried: string | undefined = 'nothing said';
    await events.appending('e', async text => {
      carried = text;
    });
    expect(carried).to.equal(undefined);
    await connections.draining(async () => undefined);
    connections.refused('c1', new Error('x'));
    connections.admitted(local);
    connections.stopped(local, 'closed');
    events.sent('source', 'e', 'delivered');
    maintenance.leaked('socket', 1);
    maintenance.retrying('send', new Error('x'));
    maintenance.refusing('send', 'queue');
    maintenance.commanded('send', 1);
    observe()();
    expect(traffic).to.deep.equal({ bytesWritten: 0, eventsDropped: 0 });
    expect(sdk.spans()).to.deep.equal([]);
  });
});
