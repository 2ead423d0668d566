import { Comparison } from '../comparison.js';
import type { Table } from '../table.js';
import { measureReplay } from './measure-replay.js';
import { REPLAY_CANDIDATES } from './replay-candidates.js';

// As many as the library keeps by default.
const ENTRIES = 1_000;

/** What `--rounds`, `--replays` and `--only` say. */
export interface ReplayFlags {
  readonly rounds: string;
  readonly replays: string;
  readonly only?: string | undefined;
}

/** Measures what it costs to give clients what they missed. */
export async function replayTable({ rounds, replays, only }: ReplayFlags): Promise<Table> {
  const comparison = new Comparison(REPLAY_CANDIDATES, only, Number(rounds));
  const results = await comparison.run(`replay of ${ENTRIES} entries`, candidate =>
    measureReplay(candidate, ENTRIES, Number(replays)),
  );
  return {
    id: 'replay',
    title: 'Replay',
    note:
      `${rounds} rounds. Clients come with the \`Last-Event-ID\` of the event before the last ${ENTRIES} and get these, ids ` +
      `included: one after the other, each when the one before has everything, then ${replays} at once. The figures ` +
      `include accepting the clients. ${comparison.absent}`.trimEnd(),
    rows: 'server',
    columns: [
      { title: '1 client: entries/s', metric: 'alonePerSecond', digits: 0 },
      { title: '1 client: CPU µs/entry', metric: 'aloneCpuUs', digits: 2 },
      { title: `${replays} at once: entries/s`, metric: 'togetherPerSecond', digits: 0 },
      { title: `${replays} at once: CPU µs/entry`, metric: 'togetherCpuUs', digits: 2 },
    ],
    results,
  };
}
