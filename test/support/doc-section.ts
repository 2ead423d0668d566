import { readFileSync, writeFileSync } from 'node:fs';

const DOCS = new URL('../../../docs/', import.meta.url);

/** The cells of each row of a table that `writeSection` has put there, without those of the head. */
export function readRows(page: string, name: string): string[][] {
  const whole = readFileSync(new URL(`${page}.md`, DOCS), 'utf8');
  const section = whole.slice(whole.indexOf(`<!-- ${name} -->`), whole.indexOf(`<!-- end of ${name} -->`));
  const rows = section.split('\n').filter(line => line.startsWith('|'));
  return rows.slice(2).map(row => {
    const cells = row.split('|').slice(1, -1);
    return cells.map(cell => cell.trim());
  });
}

/** Puts text that a program has made between `<!-- name -->` and `<!-- end of name -->` of a page in `docs`. */
export function writeSection(page: string, name: string, text: string): void {
  const file = new URL(`${page}.md`, DOCS);
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
  const whole = readFileSync(file, 'utf8');
  const [from, to] = [whole.indexOf(begin), whole.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/${page}.md must have ${begin} and ${end}`);
  writeFileSync(file, `${whole.slice(0, from + begin.length)}\n\n${text}\n\n${whole.slice(to)}`);
}
