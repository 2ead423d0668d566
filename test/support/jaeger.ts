import type { Jaeger } from '../../examples/05-telemetry/jaeger.js';

interface JsonTag {
  readonly key: string;
  readonly value: unknown;
}

interface JsonSpan {
  readonly spanID: string;
  readonly operationName: string;
  readonly references: readonly {
    readonly refType: 'CHILD_OF' | 'FOLLOWS_FROM';
    readonly spanID: string;
  }[];
  readonly processID: string;
  readonly startTime: number;
  readonly duration: number;
  readonly tags: readonly JsonTag[];
  readonly warnings: readonly string[] | null;
}

interface JsonTrace {
  readonly traceID: string;
  readonly spans: readonly JsonSpan[];
  readonly processes: Readonly<Record<string, { readonly serviceName: string; readonly tags: readonly JsonTag[] }>>;
}

/** A span as Jaeger has it. */
export interface JaegerSpan {
  readonly spanId: string;
  readonly name: string;
  /** The name of the span it belongs to, or its id when that is not of this trace. */
  readonly parent: string | undefined;
  readonly parentId: string | undefined;
  /** Microseconds. */
  readonly start: number;
  /** Microseconds. */
  readonly duration: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** The ids of the spans it points to. */
  readonly links: readonly string[];
  readonly service: string;
  /** `service.instance.id` of the process that sent it. */
  readonly instance: unknown;
  /** For example that Jaeger has moved it, because its clock seemed to be wrong. */
  readonly warnings: readonly string[];
}

/** The questions of Jaeger's page. */
export class JaegerReader {
  constructor(private readonly jaeger: Pick<Jaeger, 'query'>) {}

  /** The spans of one trace; empty while there are none. */
  async trace(traceId: string): Promise<JaegerSpan[]> {
    return (await this.#traces(`/${traceId}`)).flatMap(spansOf);
  }

  /** The ids of the traces in which a span of this service has these tags. */
  async search(service: string, tags: Readonly<Record<string, string>>): Promise<string[]> {
    const query = new URLSearchParams({ service, tags: JSON.stringify(tags), lookback: '1h', limit: '100' });
    return (await this.#traces(`?${query.toString()}`)).map(({ traceID }) => traceID);
  }

  async #traces(path: string): Promise<readonly JsonTrace[]> {
    const response = await fetch(`${this.jaeger.query}/api/traces${path}`);
    if (!response.ok) return [];
    const { data } = (await response.json()) as { data: readonly JsonTrace[] | null };
    return data ?? [];
  }
}

function spansOf({ spans, processes }: JsonTrace): JaegerSpan[] {
  const names = new Map(spans.map(({ spanID, operationName }) => [spanID, operationName]));
  return spans.map(span => {
    const { spanID, operationName, references, processID, startTime, duration, tags, warnings } = span;
    const idsOf = (type: string): string[] =>
      references.filter(({ refType }) => refType === type).map(reference => reference.spanID);
    const [parent] = idsOf('CHILD_OF');
    const process = processes[processID];
    return {
      spanId: spanID,
      name: operationName,
      parent: parent === undefined ? undefined : (names.get(parent) ?? parent),
      parentId: parent,
      start: startTime,
      duration,
      attributes: Object.fromEntries(tags.map(({ key, value }) => [key, value])),
      links: idsOf('FOLLOWS_FROM'),
      service: process?.serviceName ?? '',
      instance: process?.tags.find(({ key }) => key === 'service.instance.id')?.value,
      warnings: warnings ?? [],
    };
  });
}
