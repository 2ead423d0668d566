import { readFileSync } from 'node:fs';
import { context, type Context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags } from '@opentelemetry/api';
import { AlwaysOffSampler } from '@opentelemetry/sdk-trace';
import { expect } from 'chai';
import { SseError } from '../../../src/errors.js';
import { SCOPE, type SpanName } from '../../../src/telemetry/names.js';
import { SpanRecorder } from '../../../src/telemetry/spans.js';
import { RecordingSdk } from '../../support/recording-sdk.js';

const NOTHING = () => ({});

describe('SpanRecorder', () => {
  const spans = new SpanRecorder('node-a', false);
  let sdk: RecordingSdk | undefined;

  afterEach(() => {
    sdk?.stop();
    sdk = undefined;
  });

  const remote = (traceFlags: TraceFlags): Context =>
    trace.setSpanContext(ROOT_CONTEXT, {
      traceId: '0af7651916cd43dd8448eb211c80319c',
      spanId: 'b7ad6b7169203331',
      traceFlags,
      isRemote: true,
    });

  function once(name: SpanName, parent = ROOT_CONTEXT): void {
    const span = spans.begin(name, parent, NOTHING);
    if (span !== undefined) spans.end(span, NOTHING);
  }

  describe('without an SDK', () => {
    it('is off and begins nothing', () => {
      expect(spans.on).to.equal(false);
      expect(spans.begin('sse.send', ROOT_CONTEXT, NOTHING)).to.equal(undefined);
    });

    it('begins when an SDK starts later, and stops when it is gone', () => {
      once('sse.send');
      sdk = RecordingSdk.start();
      expect(spans.on).to.equal(true);
      once('sse.send');
      expect(sdk.spans()).to.have.length(1);
      sdk.stop();
      expect(spans.on).to.equal(false);
      sdk = RecordingSdk.start();
      once('sse.send');
      expect(sdk.spans()).to.have.length(1);
    });
  });

  it('names its scope, with the version of the package', () => {
    sdk = RecordingSdk.start();
    once('sse.send');
    expect(sdk.span('sse.send').instrumentationScope).to.deep.include(SCOPE);
    const text = readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8');
    const { name, version } = JSON.parse(text) as typeof SCOPE;
    expect(SCOPE).to.deep.equal({ name, version });
  });

  const kinds: Record<SpanName, SpanKind> = {
    'sse.connect': SpanKind.SERVER,
    'sse.replay': SpanKind.INTERNAL,
    'sse.close': SpanKind.INTERNAL,
    'sse.send': SpanKind.PRODUCER,
    'sse.route': SpanKind.CLIENT,
    'sse.deliver': SpanKind.CONSUMER,
    'sse.broadcast': SpanKind.PRODUCER,
    'sse.publish': SpanKind.PRODUCER,
    'sse.cleanup': SpanKind.INTERNAL,
    'sse.consistency': SpanKind.INTERNAL,
    'sse.drain': SpanKind.INTERNAL,
    'sse.command': SpanKind.CLIENT,
  };
  for (const [name, kind] of Object.entries(kinds)) {
    it(`${name} is ${SpanKind[kind]} and names the node`, () => {
      sdk = RecordingSdk.start();
      // The names are the keys of the table.
      once(name as SpanName);
      expect(sdk.span(name).kind).to.equal(kind);
      expect(sdk.span(name).attributes).to.deep.equal({ 'sse.node.id': 'node-a' });
      expect(sdk.span(name).status.code).to.equal(SpanStatusCode.UNSET);
    });
  }

  it('names the server in spans of kind CLIENT alone, where it knows one', () => {
    sdk = RecordingSdk.start();
    const knowing = new SpanRecorder('node-a', false, { address: 'redis.test', port: 6380 });
    for (const name of ['sse.route', 'sse.send'] as const)
      knowing.around(
        name,
        ROOT_CONTEXT,
        () => ({}),
        () => undefined,
      );
    expect(sdk.span('sse.route').attributes).to.include({ 'server.address': 'redis.test', 'server.port': 6380 });
    expect(sdk.span('sse.send').attributes).to.not.have.any.keys('server.address', 'server.port');
  });

  it('sse.connect is SERVER in a remote trace, and INTERNAL inside the span of an HTTP server', () => {
    sdk = RecordingSdk.start();
    once('sse.connect', remote(TraceFlags.SAMPLED));
    const http = trace.getTracer('http').startSpan('GET', {}, ROOT_CONTEXT);
    once('sse.connect', trace.setSpan(ROOT_CONTEXT, http));
    expect(sdk.spans('sse.connect').map(({ kind }) => kind)).to.deep.equal([SpanKind.SERVER, SpanKind.INTERNAL]);
  });

  it('makes no span inside one of this process that was not sampled', () => {
    sdk = RecordingSdk.start({ sampler: new AlwaysOffSampler() });
    const dropped = trace.getTracer('http').startSpan('GET', {}, ROOT_CONTEXT);
    const inside = trace.setSpan(ROOT_CONTEXT, dropped);
    expect(spans.begin('sse.send', inside, NOTHING)).to.equal(undefined);
  });

  it('asks the sampler inside a remote trace, whatever that decided', () => {
    sdk = RecordingSdk.start();
    expect(spans.begin('sse.send', remote(TraceFlags.NONE), NOTHING)).to.not.equal(undefined);
  });

  it('asks for no facts of a span that is not recorded', () => {
    sdk = RecordingSdk.start({ sampler: new AlwaysOffSampler() });
    const fail = (): never => expect.fail('asked');
    const span = spans.begin('sse.send', ROOT_CONTEXT, fail);
    if (span === undefined) expect.fail('no span');
    spans.end(span, fail);
  });

  describe('run', () => {
    it('runs the work in the context of the span, and returns its result', async () => {
      sdk = RecordingSdk.start();
      const span = spans.begin('sse.send', ROOT_CONTEXT, NOTHING) ?? expect.fail('no span');
      const active = (): unknown => trace.getSpan(context.active());
      expect(spans.run(span, ROOT_CONTEXT, active, NOTHING)).to.equal(span);
      const later = async (): Promise<unknown> => {
        await Promise.resolve();
        return active();
      };
      const other = spans.begin('sse.route', ROOT_CONTEXT, NOTHING) ?? expect.fail('no span');
      expect(await spans.run(other, ROOT_CONTEXT, later, NOTHING)).to.equal(other);
      expect(trace.getSpan(context.active())).to.equal(undefined);
    });

    it('ends the span when the work is done, with what is said of the result', async () => {
      sdk = RecordingSdk.start();
      const span = spans.begin('sse.send', ROOT_CONTEXT, NOTHING) ?? expect.fail('no span');
      let finish: (value: number) => void = () => undefined;
      const work = new Promise<number>(resolve => {
        finish = resolve;
      });
      const run = spans.run(
        span,
        ROOT_CONTEXT,
        () => work,
        value => ({ attributes: { value } }),
      );
      await Promise.resolve();
      expect(sdk.spans()).to.deep.equal([]);
      finish(7);
      expect(await run).to.equal(7);
      expect(sdk.span('sse.send').attributes).to.include({ value: 7 });
    });

    for (const [how, work] of [
      ['throws', () => expectError()],
      ['rejects', async () => expectError()],
    ] as const) {
      it(`records the error when the work ${how}, and passes it on`, async () => {
        sdk = RecordingSdk.start();
        const span = spans.begin('sse.send', ROOT_CONTEXT, NOTHING) ?? expect.fail('no span');
        const run = async (): Promise<unknown> => spans.run(span, ROOT_CONTEXT, work, NOTHING);
        const thrown: unknown = await run().catch((error: unknown) => error);
        expect(thrown).to.be.instanceOf(SseError);
        const { status, attributes, events } = sdk.span('sse.send');
        expect(status).to.deep.equal({ code: SpanStatusCode.ERROR, message: "'c1' is too much" });
        expect(attributes['error.type']).to.equal('SEND_BUFFER_FULL');
        expect(events.map(({ name }) => name)).to.deep.equal(['exception']);
        expect(events[0]?.attributes?.['exception.message']).to.equal("'c1' is too much");
      });
    }
  });

  describe('a failure', () => {
    const failWith = (failure: unknown, recorder = spans) => {
      sdk = RecordingSdk.start();
      const span = recorder.begin('sse.send', ROOT_CONTEXT, NOTHING) ?? expect.fail('no span');
      recorder.end(span, () => ({ failure }));
      return sdk.span('sse.send');
    };

    it('that was not thrown is a status without an exception', () => {
      const { status, attributes, events } = failWith('unknown');
      expect(status).to.deep.equal({ code: SpanStatusCode.ERROR, message: 'unknown' });
      expect(attributes['error.type']).to.equal('unknown');
      expect(events).to.deep.equal([]);
    });

    it('of another kind is named by its class', () => {
      expect(failWith(new RangeError('x')).attributes['error.type']).to.equal('RangeError');
    });

    it('that is no error object is recorded as one', () => {
      const { attributes, events } = failWith(42);
      expect(attributes['error.type']).to.equal('Error');
      expect(events[0]?.attributes?.['exception.message']).to.equal('42');
    });

    it('is not recorded when a client has left', () => {
      const { status, attributes, events } = failWith(new SseError('CONNECTION_CLOSED', 'gone'));
      expect(status.code).to.equal(SpanStatusCode.UNSET);
      expect(attributes['error.type']).to.equal('CONNECTION_CLOSED');
      expect(events).to.deep.equal([]);
    });

    it('records only its code where connection ids are hidden', () => {
      const hiding = new SpanRecorder('node-a', true);
      const span = failWith(new SseError('DUPLICATE_CONNECTION', "'secret-7' is there"), hiding);
      expect(span.status.message).to.equal('DUPLICATE_CONNECTION');
      expect(span.attributes['error.type']).to.equal('DUPLICATE_CONNECTION');
      expect(JSON.stringify([span.attributes, span.events, span.status])).to.not.include('secret');
      expect(hiding.connection('secret-7')).to.deep.equal({});
    });
  });

  it('names the connection unless there is none', () => {
    expect(spans.connection('c1')).to.deep.equal({ 'sse.connection.id': 'c1' });
    expect(spans.connection(undefined)).to.deep.equal({});
  });
});

function expectError(): never {
  throw new SseError('SEND_BUFFER_FULL', "'c1' is too much");
}
