import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { ATTRIBUTE, SPAN_NAMES } from '../src/telemetry/names.js';
import { readRows } from './support/doc-section.js';
import { metricRows, spanRows } from './support/reference-page.js';

const PATH = fileURLToPath(new URL('../../docs/telemetry.md', import.meta.url));

describe('docs/telemetry.md', () => {
  const reference = readFileSync(PATH, 'utf8');
  const table = (head: string): string[][] => {
    const from = reference.indexOf(`| ${head} `);
    const [text = ''] = /^(\|.*\n)+/.exec(reference.slice(from)) ?? [];
    const rows = text.trimEnd().split('\n').slice(2);
    return rows.map(row => row.split(/(?<!\\)\|/).map(cell => cell.trim()));
  };

  it('names every span', () => {
    expect(table('span').map(([, name]) => name)).to.deep.equal(SPAN_NAMES.map(name => `\`${name}\``));
  });

  it('names every attribute of spans and metrics, and no other', () => {
    const names = table('attribute').flatMap(([, cell = '']) => {
      let group = '';
      return [...cell.matchAll(/`([\w.*]+)`/g)].map(([, name = '']) => {
        // Those of one group share a cell: `sse.fanout.delivered`, `.slow`.
        if (name.startsWith('.')) return group + name;
        group = name.replace(/\.\w+$/, '');
        return name;
      });
    });
    const labels = table('metric').flatMap(([, , , , cell = '']) =>
      [...cell.matchAll(/`([\w.]+)`/g)].map(([, name = '']) => name),
    );
    const attributes = Object.values(ATTRIBUTE).filter(name => !name.startsWith('messaging.'));
    expect(new Set([...names, ...labels])).to.deep.equal(new Set([...attributes, 'messaging.*']));
  });

  it('has the tables of spans and metrics that `npm run docs:reference` writes', () => {
    expect(readRows('telemetry', 'spans')).to.deep.equal(spanRows());
    expect(readRows('telemetry', 'metrics')).to.deep.equal(metricRows());
  });
});
