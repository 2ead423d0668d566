/**
 * Sets what `npm run bench`, `npm run bench:cluster` and `npm run bench:growth` measured last beside the goals, without
 * measuring anything: `npm run bench:goals`. Writes `docs/bench/goals.md`, `docs/bench/million.md`, the
 * pictures and the summary in `docs/speed.md`.
 *
 *   --dry (prints, writes nothing)
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { markdownTable } from '../support/markdown.js';
import { measured, obstacle, verdict } from './goals/goal.js';
import { GOALS } from './goals/goals-list.js';
import { millionText } from './goals/million.js';
import { summaryText, writeSummary } from './goals/summary.js';
import { writePictures } from './pictures.js';
import { PAGES, readReport, type Report } from './report.js';

const { values: flags } = parseArgs({ options: { dry: { type: 'boolean', default: false } } });

const reports = new Map<string, Report | undefined>();
for (const name of ['results', 'cluster', 'growth']) reports.set(name, readReport(name));
const judged = GOALS.map(goal => {
  const value = measured(goal.measure, reports.get(goal.measure.report));
  const digits = goal.digits ?? 2;
  return {
    ...goal,
    bound: `${goal.is} ${Number(goal.limit.toFixed(digits + 1))} ${goal.against}`,
    value: value?.toFixed(digits) ?? '–',
    verdict: verdict(goal, value),
    why: obstacle(goal, value),
  };
});
const rows = judged.map(({ what, bound, value, verdict, why }) => [what, bound, value, verdict, why]);
const head = ['what', 'goal', 'measured', '', 'what stands in the way'];
const pages = {
  'goals.md':
    '# Goals\n\n' +
    `${reports.get('results')?.machine ?? ''}. Made by \`npm run bench:goals\` from what the benchmarks measured last. Ratios are ` +
    'the median over rounds, of this library under Koa unless said otherwise. What telemetry costs is measured by ' +
    '`node dist/test/bench/telemetry/main.js`.\n\n' +
    `${markdownTable(head, rows)}\n`,
  'million.md': millionText(reports),
};
const summary = summaryText(judged.filter(({ inShort }) => inShort));
for (const [name, text] of Object.entries(pages)) {
  if (flags.dry) console.log(`\n${text}`);
  else writeFileSync(`${PAGES}${name}`, text);
}
if (flags.dry) console.log(`\n${summary}`);
else {
  writeSummary(summary);
  writePictures();
}
