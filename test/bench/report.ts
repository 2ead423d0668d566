import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { tableText, type Table } from './table.js';

/** Where the pages are. */
export const PAGES = fileURLToPath(new URL('../../../docs/bench/', import.meta.url));

/** What one program measured; kept as it is, so that pages can be made from it again. */
export interface Report {
  /** Of its files. */
  readonly name: string;
  readonly title: string;
  /** What makes it. */
  readonly command: string;
  readonly machine: string;
  /** What one has to know to read the tables. */
  readonly about: string;
  readonly tables: readonly Table[];
}

/** Writes `docs/bench/<name>.json` and the page beside it. */
export function writeReport(report: Report): void {
  mkdirSync(PAGES, { recursive: true });
  writeFileSync(`${PAGES}${report.name}.json`, `${JSON.stringify(report, undefined, 1)}\n`);
  writeFileSync(`${PAGES}${report.name}.md`, reportText(report));
}

/** The page as Markdown. */
export function reportText({ title, command, machine, about, tables }: Report): string {
  const head = `# ${title}\n\n${machine}. Made by \`${command}\`.\n\n${about}\n`;
  const parts = tables.map(table => {
    const note = table.note === '' ? '' : `${table.note}\n\n`;
    return `## ${table.title}\n\n${note}${tableText(table)}\n`;
  });
  return [head, ...parts].join('\n');
}

/** What a program wrote last. @throws Error when it never did */
export function readReport(name: string): Report {
  // Written by this file only.
  return JSON.parse(readFileSync(`${PAGES}${name}.json`, 'utf8')) as Report;
}
