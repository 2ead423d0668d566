import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { ChildProgram } from '../support/child-program.js';
import { amount } from '../support/extent.js';
import type { FloodReport, LoadSize, LoadStats } from '../support/load-server.js';
import { StreamReader } from '../support/stream-reader.js';
import { reached, until } from '../support/until.js';

const CHURN = amount(3_000, 20_000);
const WARM_UP = amount(1_000, 2_000);
const PARALLEL = 100;
// Several times what may wait for one client.
const FLOOD_EVENTS = amount(6_000, 30_000);
const FLOOD_BYTES = 1000;
const SLOW_CLIENTS = amount(100, 200);
const MEBIBYTE = 1024 * 1024;

describe('under load', function () {
  this.timeout(240_000);
  let server: ChildProgram;
  let port: number;
  const sockets: Socket[] = [];

  const start = async (env: Record<string, string> = {}): Promise<void> => {
    server = ChildProgram.start('test/support/load-server.js', { SSE_CONNECTION_MAX_CONNECTIONS: '5000', ...env }, [
      '--expose-gc',
      '--max-semi-space-size=16',
    ]);
    port = Number((await server.printed(/listening on (\d+)/))[1]);
  };
  const size = async (): Promise<number> => (await server.ask<LoadSize>({ ask: 'size' })).connections;
  const stats = (): Promise<LoadStats> => server.ask<LoadStats>({ ask: 'stats' });
  const emptied = async (): Promise<LoadStats> => {
    await until(async () => (await size()) === 0, 'every connection to be gone');
    let last: LoadStats | undefined;
    await until(async () => {
      last = await stats();
      return last.connections + last.opening + last.objects === 0;
    }, 'every connection to be let go');
    if (last === undefined) throw new Error('no answer');
    return last;
  };
  const request = (id: string): Socket => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => socket.destroy());
    socket.write(`GET /${id} HTTP/1.1\r\nHost: x\r\n\r\n`);
    return socket;
  };

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await server.stop('SIGKILL');
  });

  it(`${CHURN} connects and abrupt disconnects leave nothing behind`, async () => {
    await start();
    // At every stage of a connection's life: before the head, at the head, after some events; by FIN and by RST.
    const connectAndLeave = (index: number): Promise<void> =>
      new Promise(resolve => {
        const socket = request(`c${index % 3000}`);
        socket.once('close', () => {
          resolve();
        });
        const leave = (): void => {
          if (index % 2 === 0) socket.resetAndDestroy();
          else socket.destroy();
        };
        if (index % 5 === 0) setImmediate(leave);
        else socket.once('data', leave);
      });
    const churn = async (from: number, count: number): Promise<void> => {
      let next = from;
      const worker = async (): Promise<void> => {
        while (next < from + count) {
          next += 1;
          await connectAndLeave(next);
        }
      };
      await Promise.all(Array.from({ length: PARALLEL }, worker));
    };
    let next = 0;
    const growthOf = async (count: number): Promise<{ readonly bytes: number; readonly bound: number }> => {
      const before = await emptied();
      await churn(next, count);
      next += count;
      const after = await emptied();
      expect(after).to.include({
        connections: 0,
        opening: 0,
        topics: 0,
        objects: 0,
        timers: before.timers,
        processListeners: before.processListeners,
      });
      expect(after.sockets).to.be.at.most(before.sockets);
      const bytes = after.heapUsed - before.heapUsed;
      const share = (bytes / before.heapUsed) * 100;
      console.log(`      heap ${(before.heapUsed / MEBIBYTE).toFixed(1)} MiB, ${share.toFixed(1)} %`);
      return { bytes, bound: amount(CHURN * 400, before.heapUsed * 0.05) };
    };
    await churn(next, WARM_UP);
    next += WARM_UP;
    // A connection that stays takes more than 600 bytes each time; code that is compiled on the way does so once.
    let growth = await growthOf(CHURN);
    for (let again = 0; again < 2 && growth.bytes >= growth.bound; again += 1) growth = await growthOf(CHURN);
    expect(growth.bytes).to.be.lessThan(growth.bound);
  });

  for (const policy of ['disconnect', 'drop-oldest', 'drop-newest']) {
    it(`${SLOW_CLIENTS} clients that never read stay within the bound (${policy}), and healthy ones lose nothing`, async () => {
      const perClient = MEBIBYTE;
      const total = 64 * MEBIBYTE;
      await start({
        SSE_SEND_BUFFER_POLICY: policy,
        SSE_SEND_BUFFER_MAX_BYTES: String(perClient),
        SSE_SEND_BUFFER_MAX_TOTAL_BYTES: String(total),
      });
      for (let index = 0; index < SLOW_CLIENTS; index += 1) {
        const socket = request(`slow-${index}`);
        socket.pause();
        sockets.push(socket);
      }
      const healthy = await Promise.all(
        Array.from({ length: 5 }, (_, index) => StreamReader.open(`http://127.0.0.1:${port}/healthy-${index}`)),
      );
      await until(async () => (await size()) === SLOW_CLIENTS + 5, 'all clients');
      const report = await server.ask<FloodReport>({
        ask: 'flood',
        events: FLOOD_EVENTS,
        bytes: FLOOD_BYTES,
      });
      await reached(
        () => Math.min(...healthy.map(({ events }) => events.length)),
        FLOOD_EVENTS + 1,
        'events at each healthy client',
      );
      for (const { events } of healthy) {
        const numbers = events.slice(1).map(({ data }) => Number(data.split(' ', 1)[0]));
        expect(numbers.every((number, index) => number === index)).to.equal(true);
      }
      const grown = report.peakRss - report.rssBefore;
      console.log(
        `      ${report.events} events, ${SLOW_CLIENTS} slow: waiting at most ` +
          `${(report.peakWaiting / MEBIBYTE).toFixed(1)} MiB, RSS grew by ${(grown / MEBIBYTE).toFixed(1)} MiB`,
      );
      // Without the bound, this much would wait.
      expect(report.peakWaiting).to.be.greaterThan(total * 0.9);
      // The socket of each client holds up to one piece and one high-water mark beside the send buffer.
      expect(report.peakWaiting).to.be.lessThan(total + (SLOW_CLIENTS + 5) * 96 * 1024);
      expect(grown).to.be.lessThan(total + 96 * MEBIBYTE);
      for (const reader of healthy) reader.close();
    });
  }
});
