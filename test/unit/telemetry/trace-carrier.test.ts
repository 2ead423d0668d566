import {
  type Context,
  createTraceState,
  propagation,
  ROOT_CONTEXT,
  type SpanContext,
  trace,
  TraceFlags,
} from '@opentelemetry/api';
import { expect } from 'chai';
import fc from 'fast-check';
import { carriedTrace } from '../../../src/protocol/names.js';
import { TraceCarrier } from '../../../src/telemetry/trace-carrier.js';

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const SPAN_ID = 'b7ad6b7169203331';
const SAMPLED: SpanContext = {
  traceId: TRACE_ID,
  spanId: SPAN_ID,
  traceFlags: TraceFlags.SAMPLED,
};
const NOW = 1_790_000_000_000;
const TIME = NOW.toString(36);

describe('TraceCarrier', () => {
  const plain = new TraceCarrier(false);
  const laden = new TraceCarrier(true);

  const inSpan = (spanContext: SpanContext, base = ROOT_CONTEXT): Context => trace.setSpanContext(base, spanContext);
  const withBaggage = (values: Record<string, string>, base = ROOT_CONTEXT): Context => {
    const entries = Object.entries(values).map(([key, value]) => [key, { value }] as const);
    return propagation.setBaggage(base, propagation.createBaggage(Object.fromEntries(entries)));
  };
  const baggageOf = (context: Context | undefined): Record<string, string> =>
    Object.fromEntries(
      (context && propagation.getBaggage(context))?.getAllEntries().map(([key, { value }]) => [key, value]) ?? [],
    );
  const spanOf = (context: Context | undefined): SpanContext | undefined => context && trace.getSpanContext(context);

  it('writes the time alone where spans are not recorded', () => {
    expect(plain.write(ROOT_CONTEXT, NOW)).to.equal(TIME);
    expect(plain.read(TIME)).to.deep.equal({ sentAt: NOW, context: undefined });
  });

  it('writes a sampled context as W3C has it', () => {
    expect(plain.write(inSpan(SAMPLED), NOW)).to.equal(`${TIME} 00-${TRACE_ID}-${SPAN_ID}-01`);
  });

  it('brings a sampled context over as a remote one', () => {
    const carried = plain.read(plain.write(inSpan(SAMPLED), NOW));
    expect(carried?.sentAt).to.equal(NOW);
    expect(spanOf(carried?.context)).to.deep.equal({ ...SAMPLED, isRemote: true });
  });

  it('brings trace state over, spaces and bars in its values included', () => {
    const state = 'vendor=a b|c - d;e,other=1';
    const from = inSpan({ ...SAMPLED, traceState: createTraceState(state) });
    const carried = plain.read(plain.write(from, NOW));
    expect(spanOf(carried?.context)?.traceState?.serialize()).to.equal(state);
  });

  it('leaves a context at home that is not sampled, or not valid', () => {
    for (const spanContext of [
      { ...SAMPLED, traceFlags: TraceFlags.NONE },
      { ...SAMPLED, traceId: '0'.repeat(32) },
      { ...SAMPLED, spanId: '0'.repeat(16) },
    ]) {
      expect(plain.write(inSpan(spanContext), NOW)).to.equal(TIME);
    }
  });

  describe('baggage', () => {
    it('travels when it is wanted, with a sampled context and without one', () => {
      for (const base of [ROOT_CONTEXT, inSpan(SAMPLED)]) {
        const text = laden.write(withBaggage({ tenant: 'a b', 'k=,': 'ü😀' }, base), NOW);
        const carried = laden.read(text);
        expect(baggageOf(carried?.context)).to.deep.equal({ tenant: 'a b', 'k=,': 'ü😀' });
        expect(spanOf(carried?.context)?.traceId).to.equal(spanOf(base)?.traceId);
      }
    });

    it('travels beside trace state', () => {
      const base = inSpan({ ...SAMPLED, traceState: createTraceState('a=1') });
      const carried = laden.read(laden.write(withBaggage({ tenant: 'x' }, base), NOW));
      expect(baggageOf(carried?.context)).to.deep.equal({ tenant: 'x' });
      expect(spanOf(carried?.context)?.traceState?.serialize()).to.equal('a=1');
    });

    it('stays at home unless it is wanted, and is not read either', () => {
      const from = withBaggage({ tenant: 'x' }, inSpan(SAMPLED));
      expect(plain.write(from, NOW)).to.equal(`${TIME} 00-${TRACE_ID}-${SPAN_ID}-01`);
      expect(baggageOf(plain.read(laden.write(from, NOW))?.context)).to.deep.equal({});
    });

    it('without entries is omitted', () => {
      expect(laden.write(withBaggage({}), NOW)).to.equal(TIME);
    });

    it('entries that are not well-formed text are left out', () => {
      const carried = laden.read(laden.write(withBaggage({ a: '\ud800', b: 'x' }), NOW));
      expect(baggageOf(carried?.context)).to.deep.equal({ b: 'x' });
    });

    it('that does not fit stays behind; the trace goes on', () => {
      const from = withBaggage({ big: 'x'.repeat(2000) }, inSpan(SAMPLED));
      const text = laden.write(from, NOW);
      expect(text).to.equal(`${TIME} 00-${TRACE_ID}-${SPAN_ID}-01`);
    });

    it('with percent-encoding that is none is left out, entry by entry', () => {
      const carried = laden.read(`${TIME} - a=%,b=x,=y,c`);
      expect(baggageOf(carried?.context)).to.deep.equal({ b: 'x' });
    });
  });

  it('drops trace state that does not fit beside baggage that does', () => {
    const base = inSpan({ ...SAMPLED, traceState: createTraceState(`v=${'s'.repeat(200)}`) });
    const text = laden.write(withBaggage({ big: 'x'.repeat(850) }, base), NOW);
    expect(text.length).to.be.at.most(1024);
    const carried = laden.read(text);
    expect(baggageOf(carried?.context)).to.deep.equal({ big: 'x'.repeat(850) });
    expect(spanOf(carried?.context)).to.deep.equal({ ...SAMPLED, isRemote: true });
  });

  it('reads nothing from text that no node wrote', () => {
    for (const text of ['', ' ', 'ABC', 'x'.repeat(11), '-1', '1.5', `é ${TRACE_ID}`]) {
      expect(plain.read(text)).to.equal(undefined);
    }
  });

  it('reads the time alone when the parent is malformed', () => {
    for (const parent of [
      'x',
      `01-${TRACE_ID}-${SPAN_ID}-01`,
      `00-${TRACE_ID}-${SPAN_ID}-1`,
      `00-${'0'.repeat(32)}-${SPAN_ID}-01`,
      `00-${TRACE_ID}-${'0'.repeat(16)}-01`,
      `00-${TRACE_ID.toUpperCase()}-${SPAN_ID}-01`,
      `00-${TRACE_ID}-${SPAN_ID}-01-x`,
    ]) {
      expect(plain.read(`${TIME} ${parent}`)).to.deep.equal({ sentAt: NOW, context: undefined });
    }
  });

  it('whatever the context, writes what coordinators carry, and reads whatever comes without throwing', () => {
    const text = fc.string({ unit: 'binary', maxLength: 300 });
    fc.assert(
      fc.property(fc.dictionary(text, text, { maxKeys: 8 }), fc.boolean(), (values, sampled) => {
        const base = sampled ? inSpan(SAMPLED) : ROOT_CONTEXT;
        const written = laden.write(withBaggage(values, base), NOW);
        expect(carriedTrace(written)).to.equal(written);
        expect(laden.read(written)?.sentAt).to.equal(NOW);
      }),
      { numRuns: 500 },
    );
    fc.assert(fc.property(fc.string({ unit: 'grapheme-ascii' }), any => void laden.read(any)));
    fc.assert(fc.property(fc.string({ unit: 'grapheme-ascii' }), rest => void laden.read(`${TIME} ${rest}`)));
  });
});
