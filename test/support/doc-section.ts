import { readFileSync, writeFileSync } from 'node:fs';

const DOCS = new URL('../../../docs/', import.meta.url);

/** Puts text that a program has made between `<!-- name -->` and `<!-- end of name -->` of a page in `docs`. */
export function writeSection(page: string, name: string, text: string): void {
  const file = new URL(`${page}.md`, DOCS);
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
  const whole = readFileSync(file, 'utf8');
  const [from, to] = [whole.indexOf(begin), whole.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/${page}.md must have ${begin} and ${end}`);
  writeFileSync(file, `${whole.slice(0, from + begin.length)}\n\n${text}\n\n${whole.slice(to)}`);
}
