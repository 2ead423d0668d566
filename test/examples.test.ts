import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { context, metrics } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { expect } from 'chai';
import { type MetricDefinition, METRICS } from '../src/telemetry/names.js';
import { freePort } from './support/redis/free-port.js';
import { until } from './support/until.js';

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url));
const read = (path: string): string => readFileSync(EXAMPLES + path, 'utf8');

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

/** The labels of each series that a Prometheus exporter serves of all metrics, by the name of the series. */
async function servedSeries(): Promise<Map<string, Set<string>>> {
  const port = await freePort();
  const variables = {
    OTEL_METRICS_EXPORTER: 'prometheus',
    OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
    OTEL_EXPORTER_PROMETHEUS_PORT: String(port),
    OTEL_TRACES_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
  };
  const before = { ...process.env };
  Object.assign(process.env, variables);
  const sdk = new NodeSDK({ autoDetectResources: false, textMapPropagator: null });
  sdk.start();
  process.env = before;
  const http = { name: 'http.server.request.duration', kind: 'histogram', unit: 's', attributes: [] } as const;
  for (const definition of [...Object.values(METRICS), http]) record(definition);
  let text = '';
  await until(async () => {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => undefined);
    text = (await response?.text()) ?? '';
    return text !== '';
  }, 'the exporter');
  await sdk.shutdown();
  metrics.disable();
  context.disable();
  const series = new Map<string, Set<string>>();
  for (const [, name = '', labels = ''] of text.matchAll(/^([a-z]\w*)(?:\{(.*)\})? \S+/gm)) {
    const known = series.get(name) ?? new Set<string>();
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label);
    series.set(name, known);
  }
  return series;
}

type Recorded = Pick<MetricDefinition, 'kind' | 'unit' | 'attributes'> & { readonly name: string };

/** One value with every attribute that the metric may have. */
function record({ name, kind, unit, attributes }: Recorded): void {
  const meter = metrics.getMeter('test');
  const labels = Object.fromEntries([...attributes, 'sse.node.id'].map(attribute => [attribute, 'x']));
  switch (kind) {
    case 'counter':
      meter.createCounter(name, { unit }).add(1, labels);
      break;
    case 'updown':
      meter.createUpDownCounter(name, { unit }).add(1, labels);
      break;
    case 'gauge':
      meter.createGauge(name, { unit }).record(1, labels);
      break;
    case 'histogram':
      meter.createHistogram(name, { unit }).record(1, Object.fromEntries(attributes.map(each => [each, 'x'])));
  }
}

/** Name, as a pattern, and labels of each selector of a query, and the labels by which it groups. */
function selectorsOf(query: string): { readonly name: RegExp; readonly labels: readonly string[] }[] {
  const groups = [...query.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/,\s*/));
  return [...query.matchAll(/(\w*)\{([^}]*)\}/g)].map(([, plain = '', matchers = '']) => {
    const all = [...matchers.matchAll(/(\w+)(?:=~|!=|=)"([^"]*)"/g)];
    const pattern = all.find(([, label]) => label === '__name__')?.[2] ?? plain;
    const labels = all.map(([, label = '']) => label).filter(label => label !== '__name__');
    return { name: new RegExp(`^(?:${pattern})$`), labels: [...labels, ...groups] };
  });
}

describe('the numbered examples', () => {
  const folders = readdirSync(EXAMPLES).filter(name => /^\d/.test(name));

  it('have numbers without a gap, and a row of examples/README.md each', () => {
    expect(folders.map(name => Number(name.slice(0, 2)))).to.deep.equal(folders.map((_, index) => index));
    const rows = [...read('README.md').matchAll(/^\| \[(\d[\w-]+)\]\(\1\)/gm)].map(([, name]) => name);
    expect(rows).to.deep.equal(folders);
  });

  // The program of the README stands there as it is.
  for (const folder of folders.slice(1)) {
    it(`${folder} says what it shows, in about ten lines, and how it is started`, () => {
      const text = existsSync(`${EXAMPLES}${folder}/README.md`)
        ? read(`${folder}/README.md`)
        : (/^\/\*\*[^]*?\*\//.exec(read(`${folder}/main.ts`))?.[0] ?? '');
      expect(text.split('\n').length).to.be.within(8, 60);
      expect(text).to.match(/npm (start|run )/);
    });
  }
});

describe('examples/compose.yaml', () => {
  const compose = read('compose.yaml');

  it('mounts and builds what exists', () => {
    const mounts = [...compose.matchAll(/\.\/(compose\/[^:'\s]+):/g)].map(([, path = '']) => path);
    const [, dockerfile = ''] = /dockerfile: examples\/(\S+)/.exec(compose) ?? [];
    expect(mounts).to.have.length(4);
    expect([...mounts, dockerfile].filter(path => !existsSync(EXAMPLES + path))).to.deep.equal([]);
  });

  it('gives each node a name that is visible at once in Jaeger, its id', () => {
    const names = [...compose.matchAll(/^  (node-\w+):\n.*\n.*NODE_ID: (\S+), OTEL_SERVICE_NAME: (\S+) }$/gm)];
    expect(names.map(([, ...each]) => each)).to.deep.equal(
      ['node-a', 'node-b', 'node-c'].map(name => [name, name, name]),
    );
  });

  it('has nginx in front of each of its nodes', () => {
    const nodes = [...compose.matchAll(/^  (node-\w+):$/gm)].map(([, name]) => name);
    const upstreams = [...read('compose/nginx.conf').matchAll(/server (node-\w+):3000;/g)];
    expect(nodes).to.have.length(3);
    expect(upstreams.map(([, name]) => name)).to.deep.equal(nodes);
  });
});

describe('the Grafana dashboard', () => {
  const { panels } = JSON.parse(read('compose/grafana/dashboards/distributed-sse.json')) as {
    panels: readonly Panel[];
  };
  const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

  it('asks for what a Prometheus exporter serves, in its selectors and its groups', async () => {
    const served = await servedSeries();
    const selectors = queries.flatMap(query => selectorsOf(query).map(selector => ({ query, ...selector })));
    expect(selectors.length).to.be.greaterThan(30);
    for (const { query, name, labels } of selectors) {
      const found = [...served].filter(([series]) => name.test(series));
      expect(found, query).to.have.length(1);
      const known = new Set(['service_instance_id', ...(found[0]?.[1] ?? [])]);
      expect(
        labels.filter(label => !known.has(label)),
        query,
      ).to.deep.equal([]);
    }
  });

  it('shows every metric', () => {
    const text = queries.join('\n');
    const missing = Object.values(METRICS).filter(({ name }) => !text.includes(name.replaceAll('.', '_')));
    expect(missing.map(({ name }) => name)).to.deep.equal([]);
  });

  it('finds the names that the OTLP receiver of Prometheus makes, with their units, as well', () => {
    const patterns = queries.flatMap(query => selectorsOf(query).map(({ name }) => name));
    for (const { name, kind, unit } of Object.values<MetricDefinition>(METRICS)) {
      const suffix = { s: '_seconds', By: '_bytes' }[unit] ?? '';
      const plain = name.replaceAll('.', '_');
      // The receiver leaves the unit out where the name ends with it.
      const base = plain.endsWith(suffix) ? plain : plain + suffix;
      const ends = { counter: '_total', updown: '', gauge: '', histogram: '_bucket' };
      expect(
        patterns.some(pattern => pattern.test(base + ends[kind])),
        base,
      ).to.equal(true);
    }
  });
});
