import { type Attributes, context, type Context, ROOT_CONTEXT, type Span, trace, TraceFlags } from '@opentelemetry/api';
import type {
  BroadcastReceipt,
  Cursor,
  FanOut,
  LocalResult,
  Outcome,
  PublishReceipt,
  SendResult,
} from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import type {
  Addressee,
  ArrivedMessage,
  ArrivedPublication,
  Audience,
  EventTelemetry,
  Scope,
  SendSubject,
} from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import { ATTRIBUTE } from './names.js';
import {
  deliveryEnd,
  fanOutEnd,
  fanOutOutcome,
  isDuplicate,
  linksTo,
  publicationEnd,
  recordedTrace,
  type Reporting,
  sendEnd,
  type SpanEnd,
  whenDone,
} from './spans.js';
import type { Carried, TraceCarrier } from './trace-carrier.js';

const SEND = operation('send', 'send');
const PUBLISH = operation('publish', 'send');
/** The destination of a broadcast. */
const EVERYONE = '*';
const DELIVER = operation('deliver', 'process');
const ROUTE = operation('route', 'send');

/** The context of every send that is not recorded, so that none makes one of its own, and its route asks for no span. */
const DROPPED = trace.setSpanContext(ROOT_CONTEXT, {
  traceId: 'f'.repeat(32),
  spanId: 'f'.repeat(16),
  traceFlags: TraceFlags.NONE,
});

/** Records events on their way in OpenTelemetry. */
export class OpenEventTelemetry implements EventTelemetry {
  constructor(
    private readonly reporting: Reporting,
    private readonly carrier: TraceCarrier,
    private readonly settings: {
      readonly formatId: (position: Cursor) => string;
      readonly topicsInSpanNames: boolean;
    },
  ) {}

  sending<R extends SendResult | Promise<SendResult>>(subject: SendSubject, work: () => R): R {
    const { watcher } = this.reporting;
    if (watcher === undefined) return this.#sending(subject, work);
    const startedAt = performance.now();
    const { connectionId: to, event, messageId } = subject;
    const done = (result: SendResult): void => {
      // Only `#sending` sets it.
      const traceId = recordedTrace(trace.getSpan((subject.context as Context | undefined) ?? ROOT_CONTEXT));
      const ms = performance.now() - startedAt;
      watcher.onSettled({ scope: 'connection', to, event, messageId, result, ms, traceId });
    };
    return whenDone(() => this.#sending(subject, work), done);
  }

  #sending<R extends SendResult | Promise<SendResult>>(subject: SendSubject, work: () => R): R {
    const { spans } = this.reporting;
    if (!spans.on) return work();
    const parent = context.active();
    // Asking a sampler for each local send would cost a quarter of the send itself.
    if (subject.here && trace.getSpan(parent) === undefined) return work();
    const span = spans.begin('sse.send', parent, () => ({
      ...SEND,
      ...this.#messageFacts(subject),
      [ATTRIBUTE.eventName]: subject.event,
      [ATTRIBUTE.scope]: 'connection',
    }));
    // Activating a context costs more than the rest, and a span that is not recorded needs none.
    if (span?.isRecording() !== true) {
      if (!this.carrier.baggage) subject.context = DROPPED;
      else if (span !== undefined) subject.context = trace.setSpan(parent, span);
      return work();
    }
    subject.context = trace.setSpan(parent, span);
    return spans.run(span, parent, work, sendEnd);
  }

  routing(subject: SendSubject, work: (trace: string | undefined) => Promise<SendResult>): Promise<SendResult> {
    const { meters, watcher } = this.reporting;
    const { instruments } = meters;
    if (!this.#recording) return work(undefined);
    const startedAt = performance.now();
    // Only `sending` sets it.
    const parent = (subject.context as Context | undefined) ?? context.active();
    const routed = parent === DROPPED ? work(this.carrier.writeTime(Date.now())) : this.#routing(subject, parent, work);
    if (instruments === undefined && watcher === undefined) return routed;
    const recorded = parent === DROPPED ? undefined : parent;
    return routed.then(result => {
      instruments?.record('sse.route.duration', (performance.now() - startedAt) / 1000, result.outcome, recorded);
      watcher?.onRouted(result.outcome);
      return result;
    });
  }

  #routing(subject: SendSubject, parent: Context, work: (trace: string) => Promise<SendResult>): Promise<SendResult> {
    const traced = (within: Context) => work(this.carrier.write(within, Date.now()));
    const facts = () => ({ ...ROUTE, ...this.#messageFacts(subject) });
    return this.reporting.spans.around('sse.route', parent, facts, traced, sendEnd);
  }

  broadcasting(event: string, work: () => FanOut): FanOut {
    const { spans, figures } = this.reporting;
    const parent = context.active();
    const span = spans.begin('sse.broadcast', parent, () =>
      publishFacts('node', { [ATTRIBUTE.messagingDestination]: EVERYONE }, event),
    );
    try {
      const fanOut = span?.isRecording() === true ? spans.run(span, parent, work, fanOutEnd) : work();
      figures.sent.add('node', fanOutOutcome(fanOut), 1, event);
      this.#countFanOut('node', fanOut);
      this.reporting.watcher?.onArrived(fanOut, undefined);
      return fanOut;
    } catch (error) {
      this.#countFailure('node', event, error);
      throw error;
    }
  }

  async publishing<R extends BroadcastReceipt | PublishReceipt>(
    to: Audience,
    event: string,
    work: (trace: string | undefined) => Promise<R>,
  ): Promise<R> {
    const { spans, figures } = this.reporting;
    const { scope } = to;
    const parent = context.active();
    const name = scope === 'cluster' ? 'sse.broadcast' : 'sse.publish';
    const title = this.#titleOf('publish', to);
    const span = spans.begin(name, parent, () => publishFacts(scope, this.#facts(to), event), { title });
    const text = this.#recording ? this.carrier.write(within(parent, span), Date.now()) : undefined;
    const startedAt = performance.now();
    try {
      const receipt = await (span?.isRecording() === true
        ? spans.run(span, parent, () => work(text), publicationEnd)
        : work(text));
      // The end of a source is no event of the application's.
      if (scope === 'source') return receipt;
      figures.sent.add(scope, receipt.outcome, 1, event);
      const ms = performance.now() - startedAt;
      this.reporting.watcher?.onSettled({
        scope,
        to: to.scope === 'topic' ? to.topic : EVERYONE,
        event,
        result: receipt,
        ms,
        traceId: recordedTrace(span),
      });
      return receipt;
    } catch (error) {
      if (scope !== 'source') this.#countFailure(scope, event, error);
      throw error;
    }
  }

  async appending(event: string, work: (trace: string | undefined) => Promise<void>): Promise<void> {
    // The time alone: a span per event would hide the other spans of the trace.
    const text = this.#recording ? this.carrier.write(ROOT_CONTEXT, Date.now()) : undefined;
    try {
      await work(text);
      this.reporting.figures.sent.add('source', 'stored', 1, event);
    } catch (error) {
      this.#countFailure('source', event, error);
      throw error;
    }
  }

  sent(scope: 'connection' | 'source', event: string, outcome: Outcome): void {
    this.reporting.watcher?.onSent(scope, outcome);
    this.reporting.figures.sent.add(scope, outcome, 1, event);
  }

  delivering(message: ArrivedMessage, work: () => LocalResult): LocalResult {
    const carried = this.#carried(message.trace);
    const facts = () => arrivalFacts('connection', message.size, this.#messageFacts(message));
    const result = this.#arriving(carried, message.connection, facts, work, deliveryEnd);
    if (isDuplicate(result)) return result;
    this.reporting.figures.deliveries.add('connection', result.outcome);
    this.reporting.watcher?.onDelivered(result.outcome);
    this.#noteLatency('connection', carried);
    return result;
  }

  fanningOut({ to, size, position, trace: text }: ArrivedPublication, work: () => FanOut): FanOut {
    const { scope } = to;
    const carried = this.#carried(text);
    const connection = scope === 'connection' ? to.connection : undefined;
    const facts = () => ({
      ...arrivalFacts(scope, size, this.#facts(to)),
      ...(position && { [ATTRIBUTE.messagingMessageId]: this.settings.formatId(position) }),
    });
    const fanOut = this.#arriving(carried, connection, facts, work, fanOutEnd, this.#titleOf('deliver', to));
    this.#countFanOut(scope, fanOut);
    this.reporting.watcher?.onArrived(fanOut, to.scope === 'topic' ? to.topic : undefined);
    this.#noteLatency(scope, carried);
    if (position !== undefined) this.#noteLag(Date.now() - position.ms);
    return fanOut;
  }

  /** The trace that came with an event; not parsed while no SDK records. */
  #carried(text: string | undefined): Carried | undefined {
    return text !== undefined && this.#recording ? this.carrier.read(text) : undefined;
  }

  /** Whether an SDK records spans or metrics, or somebody looks at the node. */
  get #recording(): boolean {
    const { spans, meters, watcher } = this.reporting;
    return spans.on || meters.instruments !== undefined || watcher !== undefined;
  }

  /** Only a sender's trace is continued: an arrival alone is a figure, not a story. */
  #arriving<R>(
    carried: Carried | undefined,
    connection: LocalConnection | undefined,
    facts: () => Attributes,
    work: () => R,
    describe: (result: Awaited<R>) => SpanEnd,
    title?: string,
  ): R {
    if (carried?.context === undefined) return work();
    // A delivery belongs to the send's trace, and points to the opening of the connection it goes to.
    const links = linksTo(connection?.origin);
    return this.reporting.spans.around('sse.deliver', carried.context, facts, work, describe, { title, links });
  }

  /** As the conventions for messaging name a span whose destinations are few. */
  #titleOf(operation: 'publish' | 'deliver', to: Addressee): string | undefined {
    return this.settings.topicsInSpanNames && to.scope === 'topic' ? `${operation} ${to.topic}` : undefined;
  }

  #noteLatency(scope: Scope, carried: Carried | undefined): void {
    if (carried === undefined) return;
    const ms = Math.max(0, Date.now() - carried.sentAt);
    this.reporting.watcher?.onLatency(ms);
    this.reporting.meters.instruments?.record('sse.delivery.latency', ms / 1000, scope, carried.context);
  }

  #noteLag(ms: number): void {
    this.reporting.figures.lagged(ms);
    this.reporting.watcher?.onLag(ms);
  }

  #countFanOut(scope: Scope, { delivered, buffered, rejected }: FanOut): void {
    const { deliveries } = this.reporting.figures;
    deliveries.add(scope, 'delivered', delivered);
    deliveries.add(scope, 'buffered', buffered);
    deliveries.add(scope, 'rejected', rejected);
  }

  #countFailure(scope: Scope, event: string, error: unknown): void {
    const { sent } = this.reporting.figures;
    if (SseError.is(error, 'EVENT_TOO_LARGE')) sent.add(scope, 'rejected', 1, event);
    else if (SseError.is(error, 'UNAVAILABLE')) sent.add(scope, 'unavailable', 1, event);
  }

  #facts(to: Addressee): Attributes {
    switch (to.scope) {
      case 'cluster':
        return { [ATTRIBUTE.messagingDestination]: EVERYONE };
      case 'topic':
        return { [ATTRIBUTE.topic]: to.topic, [ATTRIBUTE.messagingDestination]: to.topic };
      case 'source':
        return { [ATTRIBUTE.sourceKey]: to.key, [ATTRIBUTE.messagingDestination]: to.key };
      case 'connection':
        return this.#connectionFacts(to.connectionId);
    }
  }

  #messageFacts({ connectionId, messageId }: Pick<SendSubject, 'connectionId' | 'messageId'>) {
    return { ...this.#connectionFacts(connectionId), [ATTRIBUTE.messagingMessageId]: messageId };
  }

  /** A destination that ends with its connection; the conventions say so to keep it out of names. */
  #connectionFacts(connectionId: string): Attributes {
    const named = this.reporting.spans.connection(connectionId);
    const id = named[ATTRIBUTE.connectionId];
    const temporary = { ...named, [ATTRIBUTE.messagingTemporary]: true };
    return id === undefined ? temporary : { ...temporary, [ATTRIBUTE.messagingDestination]: id };
  }
}

function operation(name: string, type: 'send' | 'process'): Attributes {
  return {
    [ATTRIBUTE.messagingSystem]: 'distributed_sse',
    [ATTRIBUTE.messagingOperation]: name,
    [ATTRIBUTE.messagingOperationType]: type,
  };
}

function publishFacts(scope: Scope, to: Attributes, event: string): Attributes {
  return { ...PUBLISH, ...to, [ATTRIBUTE.eventName]: event, [ATTRIBUTE.scope]: scope };
}

function arrivalFacts(scope: Scope, size: number, to: Attributes): Attributes {
  return { ...DELIVER, ...to, [ATTRIBUTE.messagingEnvelopeSize]: size, [ATTRIBUTE.scope]: scope };
}

function within(parent: Context, span: Span | undefined): Context {
  return span === undefined ? parent : trace.setSpan(parent, span);
}
