import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PAGE = fileURLToPath(new URL('../../../../docs/speed.md', import.meta.url));
const BEGIN = '<!-- written by npm run bench:goals -->';
const END = '<!-- until here -->';

/** The text of a goal in `docs/speed.md`, where that page has the goal. */
export interface GoalLine {
  readonly what: string;
  readonly against: string;
  readonly value: string;
  readonly verdict: string;
}

/** The chart, the goals in short and where more is, as Markdown. Goals of one matter share a line. */
export function summaryText(lines: readonly GoalLine[]): string {
  const matters = new Set(lines.map(({ what }) => what));
  const items = [...matters].map(what => {
    const goals = lines.filter(line => line.what === what);
    const values = goals.map(({ value, against, verdict }) => `${value} ${against} (${verdict})`);
    return `- ${what}: ${values.join(', ')}`;
  });
  return [
    BEGIN,
    '',
    '![Server CPU per delivery](bench/cpu-per-delivery.svg)',
    '',
    ...items,
    '',
    'Every figure: [goals](bench/goals.md), [one process](bench/results.md), [several nodes](bench/cluster.md),',
    '[growth](bench/growth.md), [a million connections](bench/million.md).',
    '',
    END,
  ].join('\n');
}

/** Replaces the summary in `docs/speed.md`. @throws Error when the page has no markers for it */
export function writeSummary(text: string): void {
  const page = readFileSync(PAGE, 'utf8');
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`docs/speed.md has no ${BEGIN} … ${END}`);
  writeFileSync(PAGE, page.slice(0, begin) + text + page.slice(end + END.length));
}
