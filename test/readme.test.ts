import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { ATTRIBUTE, METRICS, SPAN_NAMES } from '../src/telemetry/names.js';

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
    const shown = /```ts\n(import 'reflect-metadata';[^]+?)```\n/.exec(readme)?.[1];
    const compiled = read('examples/00-quick-start/main.ts');
    expect(shown).to.equal(compiled.replace('../../src/index.js', 'distributed-sse'));
  });

  it('is short enough for a first look', () => {
    expect(Buffer.byteLength(readme)).to.be.at.most(10_240);
  });
});

describe('README and the guides', () => {
  const pages = [
    ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md'],
    ...['examples/README.md', 'examples/02-cluster/README.md', 'examples/clients/README.md'],
    ...readdirSync(locate('docs')).map(name => `docs/${name}`),
  ];

  it('show examples as they are compiled and run, without the comment at their top', () => {
    const files = pages.filter(page => page.endsWith('.md'));
    const shown = files.flatMap(page => [...read(page).matchAll(/<!-- (examples\/\S+) -->\n\n```ts\n([^]*?)```/g)]);
    expect(shown).to.have.length.greaterThan(1);
    for (const [, path = '', code] of shown) {
      const compiled = read(path).replace(/^\/\*\*[^]*?\*\/\n/, '');
      expect(code, path).to.equal(compiled.replace('../../src/index.js', 'distributed-sse'));
    }
  });

  for (const page of pages.filter(name => name.endsWith('.md'))) {
    it(`${page} links to files and headings that exist`, () => {
      const links = [...read(page).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map(([, link = '']) => link);
      const missing = links.filter(link => {
        const [path = '', heading] = link.split('#');
        const file = path === '' ? page : join(dirname(page), path);
        if (!existsSync(locate(file))) return true;
        return heading !== undefined && !headingsOf(file).has(heading);
      });
      expect(missing).to.deep.equal([]);
    });
  }

  for (const page of pages.filter(name => name.endsWith('.md'))) {
    it(`${page} has sentences of at most 25 words`, () => {
      const long = sentencesOf(read(page)).filter(sentence => wordsOf(sentence) > 25);
      expect(long).to.deep.equal([]);
    });
  }

  it('name no metric, span or attribute of telemetry that does not exist', () => {
    const known = new Set<string>([
      ...SPAN_NAMES,
      ...Object.values(METRICS).map(({ name }) => name),
      ...Object.values(ATTRIBUTE),
      'sse.retry',
    ]);
    const [guide = ''] = read('docs/telemetry.md').split('\n## Spans');
    const named = [...guide.matchAll(/`(sse\.[\w.]+)`/g)].map(([, name = '']) => name);
    expect(named.length).to.be.greaterThan(20);
    expect(named.filter(name => !known.has(name))).to.deep.equal([]);
  });

  it('link each fact about another product beside ours to its source', () => {
    const [, table = ''] = /## Beside others\n[^|]*([^]*?)\n\n/.exec(read('docs/security.md')) ?? [];
    const rows = table.split('\n').slice(2);
    expect(rows).to.have.length.greaterThan(5);
    const cells = rows.flatMap(row => row.split('|').slice(3, -1));
    expect(cells.filter(cell => !/not found|\]\[[\w-]+\]/.test(cell))).to.deep.equal([]);
  });

  /** Of the prose: without code blocks, tables and targets of links. An item of a list stands alone, a code span is one word. */
  function sentencesOf(page: string): string[] {
    const prose = page
      .replace(/^```[^]*?^```/gm, '')
      .replace(/^\s*\|.*$/gm, '')
      .replace(/^\[[^\]]+\]: \S+$/gm, '')
      .replace(/`[^`]+`/g, 'code')
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1');
    const paragraphs = prose.split(/\n\s*\n|^#+ |\n(?=\s*(?:[-*]|\d+\.) )/m);
    return paragraphs.flatMap(text => text.replace(/\s+/g, ' ').split(/(?<=[.!?][)*”"]*) /));
  }

  function wordsOf(sentence: string): number {
    return sentence.split(' ').filter(word => /[\p{L}\p{N}]/u.test(word)).length;
  }

  /** The anchors of a page, as GitHub makes them of its headings. */
  function headingsOf(file: string): ReadonlySet<string> {
    const headings = [...read(file).matchAll(/^#+ (.*)$/gm)].map(([, text = '']) => text);
    return new Set(
      headings.map(text =>
        text
          .toLowerCase()
          .replace(/[^\p{L}\p{N} _-]/gu, '')
          .replaceAll(' ', '-'),
      ),
    );
  }
});
