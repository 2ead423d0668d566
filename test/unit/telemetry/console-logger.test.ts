import { expect } from 'chai';
import { context, trace, TraceFlags } from '@opentelemetry/api';
import { ConsoleLogger, type LogLevel } from '../../../src/telemetry/telemetry.js';
import { RecordingSdk } from '../../support/recording-sdk.js';

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

describe('ConsoleLogger', () => {
  const original = { ...console };
  let written: { level: LogLevel; args: unknown[] }[];

  beforeEach(() => {
    written = [];
    for (const level of LEVELS) {
      console[level] = (...args: unknown[]) => {
        written.push({ level, args });
      };
    }
  });

  afterEach(() => {
    for (const level of LEVELS) console[level] = original[level];
  });

  it('writes warnings and errors by default', () => {
    logAll(new ConsoleLogger());
    expect(written.map(({ level }) => level)).to.deep.equal(['warn', 'error']);
  });

  for (const [index, level] of LEVELS.entries()) {
    it(`at level ${level} writes that and what is more severe`, () => {
      logAll(new ConsoleLogger(level));
      expect(written.map(line => line.level)).to.deep.equal(LEVELS.slice(index));
    });
  }

  it('names the component, and passes the fields unchanged', () => {
    const fields = { error: new Error('why') };
    new ConsoleLogger().warn('something happened', fields);
    expect(written).to.deep.equal([{ level: 'warn', args: ['[distributed-sse] something happened', fields] }]);
  });

  describe('inside a span', () => {
    const spanContext = {
      traceId: '0af7651916cd43dd8448eb211c80319c',
      spanId: 'b7ad6b7169203331',
      traceFlags: TraceFlags.SAMPLED,
    };
    let sdk: RecordingSdk;

    beforeEach(() => {
      sdk = RecordingSdk.start();
    });

    afterEach(() => {
      sdk.stop();
    });

    const within = (work: () => void): void => {
      context.with(trace.setSpanContext(context.active(), spanContext), work);
    };

    it('adds its ids to each line, with fields and without', () => {
      const ids = { trace_id: spanContext.traceId, span_id: spanContext.spanId };
      within(() => {
        new ConsoleLogger().warn('something happened', { count: 1 });
        new ConsoleLogger().error('something happened');
      });
      expect(written.map(({ args }) => args[1])).to.deep.equal([{ count: 1, ...ids }, ids]);
    });

    it('adds no ids of an invalid span', () => {
      const invalid = trace.wrapSpanContext({ ...spanContext, traceId: '0'.repeat(32) });
      context.with(trace.setSpan(context.active(), invalid), () => {
        new ConsoleLogger().error('something happened');
      });
      expect(written[0]?.args).to.have.length(1);
    });
  });

  it('writes no empty fields', () => {
    new ConsoleLogger().error('something happened');
    expect(written[0]?.args).to.have.length(1);
  });
});

function logAll(logger: ConsoleLogger): void {
  for (const level of LEVELS) logger[level](`a line of level ${level}`);
}
