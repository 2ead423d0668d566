import type * as Testcontainers from 'testcontainers';

const IMAGE = 'jaegertracing/jaeger:2.11.0';
const OTLP = 4318;
const QUERY = 16686;

interface JsonSpan {
  readonly spanID: string;
  readonly operationName: string;
  readonly references: readonly {
    readonly refType: 'CHILD_OF' | 'FOLLOWS_FROM';
    readonly spanID: string;
  }[];
  readonly processID: string;
}

interface JsonTrace {
  readonly spans: readonly JsonSpan[];
  readonly processes: Readonly<
    Record<string, { readonly tags: readonly { readonly key: string; readonly value: unknown }[] }>
  >;
}

/** A span as Jaeger has it; what it belongs to and points to by name. */
export interface JaegerSpan {
  readonly parent: string | undefined;
  readonly links: readonly string[];
  /** `service.instance.id` of the process that sent it. */
  readonly process: unknown;
}

/** Jaeger in a container, taking OTLP over HTTP. */
export class Jaeger {
  private constructor(private readonly container: Testcontainers.StartedTestContainer) {}

  /**
   * Starts one, or says why there is none: no container engine answers, or the image cannot be had.
   * @param load imports `testcontainers`, which throws at import on some machines
   */
  static async start(
    load: () => Promise<typeof Testcontainers> = () => import('testcontainers'),
  ): Promise<Jaeger | string> {
    try {
      const { GenericContainer, Wait } = await load();
      const container = new GenericContainer(IMAGE)
        .withExposedPorts(OTLP, QUERY)
        .withWaitStrategy(Wait.forHttp('/api/services', QUERY));
      return new Jaeger(await container.start());
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return `no ${IMAGE} in a container (${reason}): start Docker or Podman`;
    }
  }

  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  get endpoint(): string {
    return this.#at(OTLP);
  }

  /** The spans of one trace by name; empty while there are none. */
  async trace(traceId: string): Promise<Map<string, JaegerSpan>> {
    const response = await fetch(`${this.#at(QUERY)}/api/traces/${traceId}`);
    if (!response.ok) return new Map();
    const { data } = (await response.json()) as { data: readonly JsonTrace[] };
    return new Map(data.flatMap(spansOf));
  }

  async stop(): Promise<void> {
    await this.container.stop();
  }

  #at(port: number): string {
    return `http://${this.container.getHost()}:${this.container.getMappedPort(port)}`;
  }
}

function spansOf({ spans, processes }: JsonTrace): [string, JaegerSpan][] {
  const names = new Map(spans.map(({ spanID, operationName }) => [spanID, operationName]));
  const namesOf = (refType: string, { references }: JsonSpan): string[] =>
    references.filter(reference => reference.refType === refType).map(({ spanID }) => names.get(spanID) ?? spanID);
  return spans.map(span => {
    const tags = processes[span.processID]?.tags ?? [];
    const [parent] = namesOf('CHILD_OF', span);
    const process = tags.find(({ key }) => key === 'service.instance.id')?.value;
    return [span.operationName, { parent, links: namesOf('FOLLOWS_FROM', span), process }];
  });
}
