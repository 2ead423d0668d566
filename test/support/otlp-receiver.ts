import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

interface AnyValue {
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly intValue?: number | string;
  readonly doubleValue?: number;
  readonly arrayValue?: { readonly values?: readonly AnyValue[] };
}

interface KeyValue {
  readonly key: string;
  readonly value: AnyValue;
}

interface JsonSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly KeyValue[];
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly events?: readonly { readonly name: string; readonly attributes?: readonly KeyValue[] }[];
}

interface JsonPoint {
  readonly attributes?: readonly KeyValue[];
  readonly asInt?: number | string;
  readonly asDouble?: number;
  readonly count?: number | string;
}

interface JsonMetric {
  readonly name: string;
  readonly unit: string;
  readonly sum?: { readonly dataPoints: readonly JsonPoint[] };
  readonly gauge?: { readonly dataPoints: readonly JsonPoint[] };
  readonly histogram?: { readonly dataPoints: readonly JsonPoint[] };
}

interface Resource {
  readonly resource: { readonly attributes: readonly KeyValue[] };
}

interface Export {
  readonly resourceSpans?: readonly (Resource & {
    readonly scopeSpans: readonly { readonly spans: readonly JsonSpan[] }[];
  })[];
  readonly resourceMetrics?: readonly (Resource & {
    readonly scopeMetrics: readonly { readonly metrics: readonly JsonMetric[] }[];
  })[];
}

type Facts = Readonly<Record<string, unknown>>;

/** A span as it came over the wire. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentSpanId: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  readonly kind: number;
  /** Nanoseconds. */
  readonly duration: bigint;
  readonly attributes: Facts;
  /** Ids of the spans it points to. */
  readonly links: readonly string[];
  readonly events: readonly { readonly name: string; readonly attributes: Facts }[];
  readonly resource: Facts;
}

/** The last value of one series as it came over the wire; of a histogram its count. */
export interface ReceivedPoint {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly attributes: Facts;
  readonly resource: Facts;
}

/** A collector in the test: takes OTLP over HTTP in JSON and keeps what it is sent. */
export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  readonly #points = new Map<string, ReceivedPoint>();
  /** All that came, as text, by the path that it came to. */
  readonly bodies = new Map<string, string>();
  /** What came that is not OTLP in JSON. */
  readonly foreign: string[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      void this.#answer(request, response);
    });
  }

  static async start(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver();
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  /** The variables that make a process export to it. */
  get environment(): Readonly<Record<string, string>> {
    return {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    };
  }

  /** The newest point of each series. */
  get points(): ReceivedPoint[] {
    return [...this.#points.values()];
  }

  /** The spans of one trace by name. */
  trace(traceId: string): Map<string, ReceivedSpan> {
    const spans = this.spans.filter(span => span.traceId === traceId);
    return new Map(spans.map(span => [span.name, span]));
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const text = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString();
    const path = request.url ?? '';
    this.bodies.set(path, (this.bodies.get(path) ?? '') + text);
    if (request.headers['content-type'] === 'application/json') {
      this.#take(JSON.parse(text) as Export);
    } else {
      this.foreign.push(`${path} ${request.headers['content-type'] ?? ''}`);
    }
    response.setHeader('Content-Type', 'application/json');
    response.end('{}');
  }

  #take({ resourceSpans = [], resourceMetrics = [] }: Export): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      const facts = factsOf(resource.attributes);
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push(receivedSpan(span, facts));
      }
    }
    for (const { resource, scopeMetrics } of resourceMetrics) {
      const facts = factsOf(resource.attributes);
      for (const metric of scopeMetrics.flatMap(({ metrics }) => metrics)) {
        for (const point of receivedPoints(metric, facts)) {
          const { name, attributes } = point;
          this.#points.set(JSON.stringify([name, attributes, facts]), point);
        }
      }
    }
  }
}

function receivedSpan(span: JsonSpan, resource: Facts): ReceivedSpan {
  const { traceId, spanId, parentSpanId = '', name, kind, attributes, links = [], events = [] } = span;
  return {
    traceId,
    spanId,
    parentSpanId,
    name,
    kind,
    duration: BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano),
    attributes: factsOf(attributes),
    links: links.map(link => link.spanId),
    events: events.map(event => ({ name: event.name, attributes: factsOf(event.attributes) })),
    resource,
  };
}

function receivedPoints(metric: JsonMetric, resource: Facts): ReceivedPoint[] {
  const { name, unit } = metric;
  const data = metric.sum ?? metric.gauge ?? metric.histogram;
  return (data?.dataPoints ?? []).map(({ attributes, asInt, asDouble, count }) => ({
    name,
    unit,
    value: Number(asInt ?? asDouble ?? count),
    attributes: factsOf(attributes),
    resource,
  }));
}

function factsOf(attributes: readonly KeyValue[] = []): Facts {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));
}

function plain(value: AnyValue): unknown {
  if (value.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(plain);
  if (value.intValue !== undefined) return Number(value.intValue);
  return value.stringValue ?? value.boolValue ?? value.doubleValue;
}
