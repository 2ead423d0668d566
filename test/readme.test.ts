import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { METRICS } from '../src/telemetry/metrics.js';
import { ATTRIBUTE, SPAN_NAMES } from '../src/telemetry/names.js';

const locate = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const read = (path: string): string => readFileSync(locate(path), 'utf8');

describe('README', () => {
  const readme = read('README.md');

  it('begins with the two commands', () => {
    const block = /```sh\n([^`]+)```/.exec(readme)?.[1] ?? '';
    expect(block.split('\n').map(line => line.split('#')[0]?.trim())).to.deep.equal([
      'npm ci && npm start',
      'npm test',
      '',
    ]);
  });

  it('shows the quick start as it is compiled and run', () => {
    const shown = /```ts\n(import 'reflect-metadata';[^`]+)```/.exec(readme)?.[1];
    const compiled = read('examples/00-quick-start/main.ts');
    expect(shown).to.equal(compiled.replace('../../src/index.js', 'distributed-sse'));
  });

  it('links to files that exist', () => {
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)].map(([, path = '']) => path);
    expect(links.filter(path => !existsSync(locate(path)))).to.deep.equal([]);
  });

  it('names no metric, span or attribute of telemetry that does not exist', () => {
    const known = new Set<string>([
      ...SPAN_NAMES,
      ...Object.values(METRICS).map(({ name }) => name),
      ...Object.values(ATTRIBUTE),
      'sse.retry',
    ]);
    const [chapter = ''] = /^## Telemetry\n[^]*?(?=^## )/m.exec(readme) ?? [];
    expect(chapter).to.include('(docs/telemetry.md)');
    const named = [...chapter.matchAll(/`(sse\.[\w.]+)`/g)].map(([, name = '']) => name);
    expect(named.length).to.be.greaterThan(20);
    expect(named.filter(name => !known.has(name))).to.deep.equal([]);
  });
});
