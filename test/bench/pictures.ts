import { writeFileSync } from 'node:fs';
import { chart, type Measure } from './chart.js';
import { PAGES, readReport } from './report.js';

/** A picture, and where its figures are. */
interface Picture extends Measure {
  /** Of the file, without its ending. */
  readonly name: string;
  readonly title: string;
  readonly report: string;
  readonly table: string;
}

/** Every picture of the measurements. */
const PICTURES: readonly Picture[] = [
  {
    name: 'cpu-per-delivery',
    title: 'Server CPU per delivery, one broadcast at a time to 10000 connections',
    ...{ report: 'results', table: '10000', metric: 'loneCpuUs', digits: 2, unit: 'µs' },
  },
  {
    name: 'deliveries',
    title: 'Deliveries a second, four broadcasts under way to 10000 connections',
    ...{ report: 'results', table: '10000', metric: 'sustainedPerSecond', digits: 0, unit: '/s' },
  },
  {
    name: 'memory-per-connection',
    title: 'Resident memory per idle connection, 10000 connections',
    ...{ report: 'results', table: '10000', metric: 'rssKb', digits: 1, unit: 'KB' },
  },
  {
    name: 'accept',
    title: 'Server CPU to accept a connection, 10000 connections',
    ...{ report: 'results', table: '10000', metric: 'acceptCpuUs', digits: 0, unit: 'µs' },
  },
  {
    name: 'replay',
    title: 'Missed entries a second, 100 clients at once, 1000 entries each',
    ...{ report: 'results', table: 'replay', metric: 'togetherPerSecond', digits: 0, unit: '/s' },
  },
  {
    name: 'node-to-node',
    title: 'From a call on one node to the socket of another, median',
    ...{ report: 'cluster', table: 'hop', metric: 'writtenP50', digits: 0, unit: 'µs' },
  },
  {
    name: 'fan-out',
    title: 'Deliveries a second to connections of another node, eight broadcasts under way',
    ...{ report: 'cluster', table: 'fan-out', metric: 'sustainedPerSecond', digits: 0, unit: '/s' },
  },
];

/** The pictures by the names of their files, from what was measured last. */
export function pictures(): ReadonlyMap<string, string> {
  return new Map(
    PICTURES.map(({ name, title, report, table, ...measure }) => {
      const results = readReport(report).tables.find(({ id }) => id === table)?.results ?? [];
      return [`${name}.svg`, chart(results, title, measure)];
    }),
  );
}

/** Writes them into `docs/bench`. */
export function writePictures(): void {
  for (const [name, text] of pictures()) writeFileSync(PAGES + name, text);
}
