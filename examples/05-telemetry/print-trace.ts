import { setTimeout as delay } from 'node:timers/promises';
import type { Jaeger } from './jaeger.js';

interface Span {
  readonly spanID: string;
  readonly operationName: string;
  readonly references: readonly { readonly refType: string; readonly traceID: string; readonly spanID: string }[];
  /** Microseconds. */
  readonly startTime: number;
  readonly duration: number;
  readonly tags: readonly { readonly key: string; readonly value: unknown }[];
  readonly processID: string;
}

/** A trace as the API of Jaeger gives it. */
interface Trace {
  readonly traceID: string;
  readonly spans: readonly Span[];
  readonly processes: Readonly<Record<string, { readonly serviceName: string }>>;
}

type Which = { readonly id: string } | { readonly service: string; readonly tags: Readonly<Record<string, string>> };

const PATIENCE = 30_000;
/** Milliseconds that exporters of several processes may differ. */
const SETTLE = 400;

/** Waits until Jaeger has a trace with a span of this name, and the spans that come soon after. */
export async function waitForTrace({ query }: Pick<Jaeger, 'query'>, which: Which, span: string): Promise<Trace> {
  const path =
    'id' in which
      ? `/${which.id}`
      : `?${new URLSearchParams({ service: which.service, tags: JSON.stringify(which.tags) }).toString()}`;
  const look = async (): Promise<Trace | undefined> => {
    const response = await fetch(`${query}/api/traces${path}`);
    const { data } = (await response.json()) as { readonly data: readonly Trace[] | null };
    return data?.find(({ spans }) => spans.some(({ operationName }) => operationName === span));
  };
  for (const end = Date.now() + PATIENCE; Date.now() < end;) {
    if ((await look()) === undefined) {
      await delay(100);
      continue;
    }
    await delay(SETTLE);
    const found = await look();
    if (found !== undefined) return found;
  }
  throw new Error(`Jaeger at ${query} has no trace with ${span} after ${PATIENCE} ms`);
}

/** The page of a trace; where Jaeger was built without its page, the trace as JSON. */
export async function traceAddress({ query }: Pick<Jaeger, 'query'>, traceId: string): Promise<string> {
  const page = await (await fetch(query)).text();
  return page.includes('jaeger-ui-root')
    ? `${query}/trace/${traceId}`
    : `${query}/api/traces/${traceId}?prettyPrint=true`;
}

/** Prints a trace as a tree: name, process, milliseconds, outcome, and whether the span has links. */
export function printTrace({ spans, processes }: Trace): void {
  const parentOf = ({ references }: Span) => references.find(({ refType }) => refType === 'CHILD_OF')?.spanID;
  const ids = new Set(spans.map(({ spanID }) => spanID));
  const isRoot = (span: Span) => !ids.has(parentOf(span) ?? '');
  const children = (of: Span | undefined) =>
    spans
      .filter(span => (of === undefined ? isRoot(span) : parentOf(span) === of.spanID))
      .sort((one, other) => one.startTime - other.startTime);
  const print = (span: Span, depth: number): void => {
    const { operationName, processID, duration, tags, references } = span;
    const tag = (name: string) => {
      const value = tags.find(({ key }) => key === name)?.value;
      return typeof value === 'string' ? value : undefined;
    };
    const links = references.filter(({ refType }) => refType === 'FOLLOWS_FROM').length;
    const facts = [
      processes[processID]?.serviceName,
      `${(duration / 1000).toFixed(1)} ms`,
      tag('sse.outcome') ?? tag('sse.close.reason'),
      links === 0 ? undefined : `${links} ${links === 1 ? 'link' : 'links'}`,
    ];
    const shown = facts.filter(fact => fact !== undefined).join(', ');
    console.log(`  ${'  '.repeat(depth)}${operationName.padEnd(44 - 2 * depth)} ${shown}`);
    for (const child of children(span)) print(child, depth + 1);
  };
  for (const root of children(undefined)) print(root, 0);
}
