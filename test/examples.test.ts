import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { type MetricDefinition, METRICS } from '../src/telemetry/metrics.js';

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url));
const read = (path: string): string => readFileSync(EXAMPLES + path, 'utf8');

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

/** A metric's names in Prometheus, as its OTLP receiver makes them. */
function prometheusNames({ name, kind, unit }: MetricDefinition): string[] {
  const units: Record<string, string> = { s: '_seconds', By: '_bytes' };
  const suffix = units[unit] ?? '';
  const plain = name.replaceAll('.', '_');
  // By default the exporter leaves the unit out where the name has it already.
  const bases = plain.includes(suffix.slice(1)) ? [plain, plain + suffix] : [plain + suffix];
  if (kind === 'counter') return bases.map(base => `${base}_total`);
  return kind === 'histogram' ? bases.flatMap(base => [`${base}_bucket`, `${base}_count`]) : bases;
}

describe('examples/compose.yaml', () => {
  const compose = read('compose.yaml');

  it('mounts and builds what exists', () => {
    const mounts = [...compose.matchAll(/\.\/(compose\/[^:'\s]+):/g)].map(([, path = '']) => path);
    const [, dockerfile = ''] = /dockerfile: examples\/(\S+)/.exec(compose) ?? [];
    expect(mounts).to.have.length(4);
    expect([...mounts, dockerfile].filter(path => !existsSync(EXAMPLES + path))).to.deep.equal([]);
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
  const definitions: readonly MetricDefinition[] = Object.values(METRICS);

  it('asks for metrics that exist', () => {
    const known = new Set(definitions.flatMap(prometheusNames));
    const asked = queries
      .flatMap(query => query.match(/\bsse_[a-z_]+(?=[{([]|\(_bytes\)\?_total)/g) ?? [])
      .map(name => (name === 'sse_bytes_written' ? 'sse_bytes_written_total' : name));
    expect(asked.length).to.be.greaterThan(20);
    expect(asked.filter(name => !known.has(name))).to.deep.equal([]);
  });

  it('shows every metric', () => {
    const text = queries.join('\n').replace('(_bytes)?', '');
    const missing = definitions.filter(definition => !prometheusNames(definition).some(name => text.includes(name)));
    expect(missing.map(({ name }) => name)).to.deep.equal([]);
  });

  it('groups by attributes that the metrics have', () => {
    const labels = new Set(definitions.flatMap(({ attributes }) => attributes.map(name => name.replaceAll('.', '_'))));
    const used = queries.flatMap(query =>
      [...query.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/,\s*/)),
    );
    const known = new Set([...labels, 'sse_node_id', 'le']);
    expect(used.filter(label => !known.has(label))).to.deep.equal([]);
  });
});
