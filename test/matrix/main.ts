/**
 * Packs the library, installs it in fresh folders with every package manager, and runs the quick start of the README there:
 * on each Node, with each TypeScript, runner and peer. Writes the tables of `docs/compatibility.md`. Exits with 1 when a cell
 * fails. `--short` runs a few cells with what is on this machine, `--only=TEXT` those whose row has the text; they write nothing.
 */
import { writeSection } from '../support/doc-section.js';
import { markdownTable } from '../support/markdown.js';
import { tables } from './cells.js';
import { Tools } from './tools.js';
import { type Cell, Workshop } from './workshop.js';

const SHORT = process.argv.includes('--short');
const ONLY = process.argv.find(argument => argument.startsWith('--only='))?.slice('--only='.length);
// Each cell is a package manager that unpacks, and a program that starts.
const AT_ONCE = 2;

/** `yes`, or why not. */
const results = new Map<Cell, string>();
let failures = 0;

const workshop = await Workshop.open();
try {
  const all = tables(workshop, await Tools.install(workshop, SHORT));
  const waiting = all.flatMap(({ cells }) => cells).filter(isWanted);
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let cell = waiting.shift(); cell !== undefined; cell = waiting.shift()) await run(cell);
    }),
  );
  if (!SHORT && ONLY === undefined && failures === 0)
    writeSection(
      'compatibility',
      'matrix',
      [
        `All cells ran on ${new Date().toISOString().slice(0, 10)}.`,
        ...all.map(({ title, cells }) => `## ${title}\n\n${tableOf(cells)}`),
      ].join('\n\n'),
    );
} finally {
  await workshop.close();
}
console.log(`${results.size - failures} cells ran, ${failures} failed`);
process.exit(failures === 0 ? 0 : 1);

function isWanted({ row, short }: Cell): boolean {
  return (!SHORT || short === true) && (ONLY === undefined || row.includes(ONLY));
}

async function run(cell: Cell): Promise<void> {
  const { row, column, test } = cell;
  if (typeof test === 'string') {
    results.set(cell, `no: ${test}`);
    return;
  }
  const start = performance.now();
  try {
    await test();
    results.set(cell, 'yes');
    console.log(`ok    ${row}, ${column} (${((performance.now() - start) / 1_000).toFixed(1)} s)`);
  } catch (error) {
    failures += 1;
    results.set(cell, 'FAILED');
    console.log(`FAIL  ${row}, ${column}\n${String(error)}`);
  }
}

function tableOf(cells: readonly Cell[]): string {
  const rows = [...new Set(cells.map(({ row }) => row))];
  const columns = [...new Set(cells.map(({ column }) => column))];
  const lines = rows.map(row => {
    const values = columns.map(column => cells.find(cell => cell.row === row && cell.column === column));
    return [row, ...values.map(cell => (cell && results.get(cell)) ?? '')];
  });
  return markdownTable(['', ...columns], lines);
}
