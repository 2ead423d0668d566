import { EventStreamClient } from '../../support/event-stream-client.js';
import { until } from '../../support/until.js';
import type { BenchServer, Candidate } from '../bench-server.js';
import { BenchClients } from '../client/bench-clients.js';

/** Entries per second and microseconds, as each name says. */
export type ReplayFigures = Readonly<
  Record<'alonePerSecond' | 'aloneCpuUs' | 'togetherPerSecond' | 'togetherCpuUs', number>
>;

/** How often each is done; once more before, so that the code that replays is compiled. */
const TIMES = 5;

/**
 * Has a server keep some entries, and clients come for all of them: so many in turn, each when the one before has
 * everything, and then as many at once, several times each. The figures include accepting the clients.
 * @throws Error when any got more or less
 */
export async function measureReplay(candidate: Candidate, entries: number, count: number): Promise<ReplayFigures> {
  const all = 2 * (1 + TIMES) * count;
  const server = await candidate.start(1 + all);
  const clients = BenchClients.start();
  try {
    const { port, path } = server;
    const address = { port, path, lastEventId: await keep(server, entries) };
    /** Seconds until so many clients that come at once have everything. */
    const replay = async (atOnce: number): Promise<number> => {
      const startedAt = Number(process.hrtime.bigint());
      await clients.open(address, atOnce, atOnce);
      return ((await clients.completed(entries)) - startedAt) / 1e9;
    };
    const repeat = async (times: number, atOnce: number): Promise<number> => {
      let seconds = 0;
      for (let time = 0; time < times; time += 1) seconds += await replay(atOnce);
      return seconds;
    };
    const measure = async (times: number, atOnce: number) => {
      await repeat(times, atOnce);
      const cpuBefore = await server.cpu();
      const seconds = await repeat(TIMES * times, atOnce);
      const cpu = (await server.cpu()) - cpuBefore;
      const replayed = TIMES * times * atOnce * entries;
      return { perSecond: replayed / seconds, cpuUs: cpu / replayed };
    };
    const alone = await measure(count, 1);
    const together = await measure(1, count);
    const received = await clients.received();
    if (received !== all * entries) {
      throw new Error(`${candidate.name} replayed ${received} entries instead of ${all * entries}`);
    }
    return {
      alonePerSecond: alone.perSecond,
      aloneCpuUs: alone.cpuUs,
      togetherPerSecond: together.perSecond,
      togetherCpuUs: together.cpuUs,
    };
  } finally {
    await clients.stop();
    await server.stop();
  }
}

/** Broadcasts so many entries, and resolves to the id of the one before them, which a client saw that was there. */
async function keep(server: BenchServer, entries: number): Promise<string> {
  const witness = await EventStreamClient.open(`http://127.0.0.1:${server.port}${server.path}`);
  try {
    await server.broadcast(1);
    const { id } = await witness.event('tick');
    if (id === undefined) throw new Error('an event that is kept has an id');
    await server.broadcast(entries);
    await until(() => witness.data('tick').length === 1 + entries, 'every entry');
    return id;
  } finally {
    witness.leave();
  }
}
