import { context, SpanStatusCode, trace } from '@opentelemetry/api';
import { expect } from 'chai';
import type { InconsistencyKind } from '../../../src/cluster/differences.js';
import type { OperationKind } from '../../../src/contracts/policy.js';
import type { CleanupKind } from '../../../src/contracts/telemetry.js';
import { SseError } from '../../../src/errors.js';
import { codeOf } from '../../support/code-of.js';
import { RecordingSdk } from '../../support/recording-sdk.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';

describe('telemetry of maintenance', () => {
  let sdk: RecordingSdk;
  let cluster: TestCluster;
  let a: TestNode;

  beforeEach(async () => {
    sdk = RecordingSdk.start();
    cluster = new TestCluster();
    a = await cluster.started('a');
  });

  afterEach(async () => {
    await cluster.close();
    sdk.stop();
  });

  /** Runs something the way a timer does that a request has started. */
  function inStaleContext<T>(work: () => T): T {
    const span = trace.getTracer('test').startSpan('request');
    return context.with(trace.setSpan(context.active(), span), work);
  }

  const cleanups: Record<CleanupKind, true> = {
    connection: true,
    route: true,
    node: true,
    source: true,
  };
  for (const kind of Object.keys(cleanups) as CleanupKind[]) {
    const works: [string, () => number | Promise<number>][] = [
      ['at once', () => 3],
      ['in the end', () => Promise.resolve(3)],
    ];
    for (const [how, work] of works) {
      it(`a cleanup of kind ${kind} that answers ${how} shows in span and metric`, async () => {
        expect(await inStaleContext(() => a.telemetry.maintenance.expiring(kind, work))).to.equal(3);
        const { attributes, parentSpanContext } = sdk.span('sse.cleanup');
        expect(attributes).to.deep.equal({
          'sse.node.id': 'a',
          'sse.cleanup.kind': kind,
          'sse.cleanup.removed': 3,
        });
        expect(parentSpanContext).to.equal(undefined);
        expect(await sdk.value('sse.cleanup.removed', { 'sse.cleanup.kind': kind })).to.equal(3);
      });
    }
  }

  it('a cleanup that finds nothing leaves nothing', async () => {
    expect(a.telemetry.maintenance.expiring('route', () => 0)).to.equal(0);
    expect(sdk.spans()).to.deep.equal([]);
    expect(await sdk.points('sse.cleanup.removed')).to.deep.equal([]);
  });

  it('a cleanup takes as long as it takes, and what it does is in no request', async () => {
    const span = await inStaleContext(() =>
      a.telemetry.maintenance.expiring('route', async () => {
        expect(trace.getSpan(context.active())).to.equal(undefined);
        const until = Date.now() + 20;
        while (Date.now() < until) await Promise.resolve();
        return 1;
      }),
    ).then(() => sdk.span('sse.cleanup'));
    const [seconds, nanoseconds] = span.duration;
    expect(seconds * 1000 + nanoseconds / 1e6).to.be.at.least(19);
  });

  it('a cleanup that fails is a failed span, and nothing removed', async () => {
    const failing = (): Promise<number> => Promise.reject(new SseError('UNAVAILABLE', 'away'));
    expect(await codeOf(a.telemetry.maintenance.expiring('route', failing))).to.equal('UNAVAILABLE');
    expect(sdk.span('sse.cleanup').status.code).to.equal(SpanStatusCode.ERROR);
    expect(await sdk.points('sse.cleanup.removed')).to.deep.equal([]);
  });

  const repairs: Record<InconsistencyKind, true> = {
    'missing-route': true,
    'foreign-route': true,
    'wrong-token': true,
    ghost: true,
    orphan: true,
    index: true,
    'dead-lease': true,
  };
  for (const kind of Object.keys(repairs)) {
    it(`a repair of kind ${kind} shows in span and metric`, async () => {
      const counts = { [kind]: 2 };
      await a.telemetry.maintenance.reconciling(async () => ({
        checked: 2,
        found: counts,
        repairs: counts,
      }));
      const { attributes } = sdk.span('sse.consistency');
      expect(attributes['sse.repair.kind']).to.deep.equal([kind]);
      const labels = { 'sse.repair.kind': kind };
      expect(await sdk.value('sse.consistency.repairs', labels)).to.equal(2);
    });
  }

  it('a comparison without a result is a failed span, with its repairs', async () => {
    const repaired = { ghost: 1 };
    await a.telemetry.maintenance.reconciling(async () => ({
      checked: 1,
      found: repaired,
      repairs: repaired,
      unknown: 'the cluster cannot be reached',
    }));
    const { attributes, status } = sdk.span('sse.consistency');
    expect(attributes).to.include({ 'error.type': 'unknown', 'sse.consistency.repairs': 1 });
    expect(status.code).to.equal(SpanStatusCode.ERROR);
    expect(await sdk.value('sse.consistency.repairs')).to.equal(1);
  });

  it('a comparison with the cluster shows what it found and what it repaired', async () => {
    const summary = {
      checked: 40,
      found: { ghost: 4, orphan: 1 },
      repairs: { ghost: 2, orphan: 1 },
    };
    expect(await inStaleContext(() => a.telemetry.maintenance.reconciling(async () => summary))).to.equal(summary);
    const { attributes, parentSpanContext } = sdk.span('sse.consistency');
    expect(attributes).to.deep.equal({
      'sse.node.id': 'a',
      'sse.consistency.checked': 40,
      'sse.consistency.found': 5,
      'sse.consistency.repairs': 3,
      'sse.repair.kind': ['ghost', 'orphan'],
    });
    expect(parentSpanContext).to.equal(undefined);
    const ghost = { 'sse.repair.kind': 'ghost' };
    expect(await sdk.value('sse.consistency.repairs', ghost)).to.equal(2);
  });

  it('a drain is a span with the connections it began with, and each end continues its own trace', async () => {
    await a.connect('c1');
    await a.connect('c2');
    sdk.forget();
    await a.service.drain({ timeout: 1000 });
    expect(sdk.span('sse.drain').attributes).to.deep.equal({
      'sse.node.id': 'a',
      'sse.connections': 2,
    });
    const ends = sdk.spans('sse.close').map(({ attributes }) => attributes['sse.close.reason']);
    expect(ends).to.deep.equal(['draining', 'draining']);
    const draining = { 'sse.close.reason': 'draining' };
    expect(await sdk.value('sse.connections.closed', draining)).to.equal(2);
    expect(await sdk.value('sse.connections.active')).to.equal(0);
  });

  it('a leak is counted by its kind', async () => {
    a.telemetry.maintenance.leaked('timer', 2);
    a.telemetry.maintenance.leaked('timer', 1);
    expect(await sdk.value('sse.leaks', { 'sse.leak.kind': 'timer' })).to.equal(3);
  });

  const kinds: Record<OperationKind, true> = {
    register: true,
    replay: true,
    send: true,
    publish: true,
    command: true,
    maintenance: true,
  };
  for (const kind of Object.keys(kinds) as OperationKind[]) {
    it(`a retry of kind ${kind} is counted, and an event of the active span if there is one`, async () => {
      const error = new SseError('UNAVAILABLE', 'away');
      a.telemetry.maintenance.retrying(kind, error);
      const span = trace.getTracer('test').startSpan('request');
      context.with(trace.setSpan(context.active(), span), () => {
        a.telemetry.maintenance.retrying(kind, error);
      });
      span.end();
      expect(sdk.span('request').events.map(({ name }) => name)).to.deep.equal(['sse.retry']);
      expect(await sdk.value('sse.retries', { 'sse.operation': kind })).to.equal(2);
    });
  }

  for (const kind of ['register', 'replay', 'send', 'publish', 'command', 'maintenance'] as const) {
    it(`a call of kind ${kind} that the policy refused is counted, by the reason`, async () => {
      for (const reason of ['circuit', 'circuit', 'timeout'] as const) a.telemetry.maintenance.refusing(kind, reason);
      const of = (reason: string) => sdk.value('sse.refusals', { 'sse.operation': kind, 'sse.refusal.reason': reason });
      expect([await of('circuit'), await of('timeout')]).to.deep.equal([2, 1]);
    });
  }

  it('a command of Redis is measured by its name, and apart when it failed', async () => {
    a.telemetry.maintenance.commanded('send', 3);
    a.telemetry.maintenance.commanded('send', 5);
    a.telemetry.maintenance.commanded('send', 1000, new SseError('UNAVAILABLE', 'away'));
    const points = await sdk.points('sse.redis.command.duration');
    expect(points).to.have.deep.members([
      { value: 2, attributes: { 'sse.redis.command': 'send' } },
      { value: 1, attributes: { 'sse.redis.command': 'send', 'error.type': 'UNAVAILABLE' } },
    ]);
  });
});
