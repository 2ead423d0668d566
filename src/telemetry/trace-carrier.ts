import {
  createTraceState,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  trace,
  TraceFlags,
  type BaggageEntry,
  type Context,
  type SpanContext,
} from '@opentelemetry/api';

/** The trace that came with a message or publication. */
export interface Carried {
  /** Milliseconds of the sender's `Date.now()`. */
  readonly sentAt: number;
  /** The sender's context; `undefined` when the sender recorded no span. */
  readonly context: Context | undefined;
}

// The bound of the coordinators.
const MAX_CHARACTERS = 1024;
const NOTHING = '-';
const TRACE_PARENT = /^00-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})$/;
const TIME = /^[\da-z]{1,10}$/;

/**
 * The text that carries the time and the context of a send to another node: the time in base 36, then traceparent, baggage
 * and tracestate in W3C form, separated by one space. Missing parts at the end are left out, others are `-`. A context that
 * is not sampled is not carried.
 */
export class TraceCarrier {
  #lastTime = 0;
  #lastText = '0';

  /** @param baggage whether baggage travels as well */
  constructor(readonly baggage: boolean) {}

  /** The text of a time alone. Sends of one turn have the same, and to write it takes longer than to compare it. */
  writeTime(sentAt: number): string {
    if (sentAt !== this.#lastTime) {
      this.#lastTime = sentAt;
      this.#lastText = sentAt.toString(36);
    }
    return this.#lastText;
  }

  write(from: Context, sentAt: number): string {
    const spanContext = trace.getSpanContext(from);
    const traced =
      spanContext !== undefined &&
      (spanContext.traceFlags & TraceFlags.SAMPLED) !== 0 &&
      isSpanContextValid(spanContext);
    const time = this.writeTime(sentAt);
    const luggage = this.baggage ? writeBaggage(from) : NOTHING;
    if (!traced) return luggage === NOTHING ? time : joined(time, NOTHING, luggage);
    const parent = `${time} ${writeParent(spanContext)}`;
    const state = spanContext.traceState?.serialize() ?? '';
    if (state === '') return luggage === NOTHING ? parent : joined(parent, luggage);
    return joined(joined(parent, luggage), state);
  }

  /** `undefined` for text that this class cannot have written. */
  read(text: string): Carried | undefined {
    // The common case: few sends are sampled.
    if (TIME.test(text)) return { sentAt: parseInt(text, 36), context: undefined };
    const [time = '', parent = NOTHING, luggage = NOTHING, ...state] = text.split(' ');
    if (!TIME.test(time)) return undefined;
    const sentAt = parseInt(time, 36);
    const spanContext = readParent(parent, state.join(' '));
    const entries = this.baggage ? readBaggage(luggage) : {};
    const carriesBaggage = Object.keys(entries).length > 0;
    if (spanContext === undefined && !carriesBaggage) return { sentAt, context: undefined };
    const traced = spanContext === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, spanContext);
    const context = carriesBaggage ? propagation.setBaggage(traced, propagation.createBaggage(entries)) : traced;
    return { sentAt, context };
  }
}

/** Joins the parts that fit: a trace without its baggage is better than none. */
function joined(head: string, ...parts: readonly string[]): string {
  let text = head;
  for (const part of parts) {
    if (text.length + 1 + part.length > MAX_CHARACTERS) return text;
    text += ` ${part}`;
  }
  return text;
}

function writeParent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${(traceFlags & 0xff).toString(16).padStart(2, '0')}`;
}

function readParent(text: string, state: string): SpanContext | undefined {
  const [, traceId, spanId, flags] = TRACE_PARENT.exec(text) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  const spanContext = { traceId, spanId, traceFlags: parseInt(flags, 16), isRemote: true };
  return state === '' ? spanContext : { ...spanContext, traceState: createTraceState(state) };
}

function writeBaggage(from: Context): string {
  const pairs = propagation
    .getBaggage(from)
    ?.getAllEntries()
    .filter(([key, { value }]) => key.isWellFormed() && value.isWellFormed())
    .map(([key, { value }]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`);
  return pairs === undefined || pairs.length === 0 ? NOTHING : pairs.join(',');
}

function readBaggage(text: string): Record<string, BaggageEntry> {
  const entries: Record<string, BaggageEntry> = {};
  for (const pair of text.split(',')) {
    const at = pair.indexOf('=');
    if (at <= 0) continue;
    try {
      entries[decodeURIComponent(pair.slice(0, at))] = { value: decodeURIComponent(pair.slice(at + 1)) };
    } catch {
      // No node of this library writes such percent-encoding: the entry is left out.
    }
  }
  return entries;
}
