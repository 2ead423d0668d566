import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const README = fileURLToPath(new URL('../../../../README.md', import.meta.url));
const BEGIN = '<!-- written by npm run bench:goals -->';
const END = '<!-- until here -->';

/** The text of a goal in README, where README has the goal. */
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
    '![Server CPU per delivery](docs/bench/cpu-per-delivery.svg)',
    '',
    ...items,
    '',
    'Every figure: [goals](docs/bench/goals.md), [one process](docs/bench/results.md), [several nodes](docs/bench/cluster.md),',
    '[growth](docs/bench/growth.md), [a million connections](docs/bench/million.md).',
    '',
    END,
  ].join('\n');
}

/** Replaces the summary in README. @throws Error when README has no markers for it */
export function writeSummary(text: string): void {
  const readme = readFileSync(README, 'utf8');
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`README has no ${BEGIN} … ${END}`);
  writeFileSync(README, readme.slice(0, begin) + text + readme.slice(end + END.length));
}
