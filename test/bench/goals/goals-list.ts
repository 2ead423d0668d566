import type { Goal, Measure } from './goal.js';

const HUGE = '10000';
const BUSY =
  'the process is never idle and spends nearly all of its time in the system call, which several events share';

/** Every goal, in the order of the page. */
export const GOALS: readonly Goal[] = [
  ...against('lone broadcast to 10,000: server CPU per delivery', 'loneCpuUs', 'at most', {
    raw: 0.72,
    'better-sse': 0.42,
    nchan: 0.75,
    floor: 1.5,
  }),
  ...against('4 broadcasts outstanding to 10,000: deliveries/s', 'sustainedPerSecond', 'at least', {
    raw: [5, BUSY],
    'better-sse': 8,
    nchan: [5, BUSY],
  }),
  own('memory per idle connection under Koa: heap', 'KB', 'heapKb', 2),
  own('memory per idle connection under Koa: RSS', 'KB', 'rssKb', 6.2),
  ...against('CPU to accept a connection, Koa included', 'acceptCpuUs', 'at most', {
    raw: [
      1.3,
      'Koa itself is a part of it, as its row with a bare response shows; the rest registers, sends `connected`, and releases the HTTP objects',
    ],
    'better-sse': [
      0.6,
      'the first thousands of clients meet code that is not compiled yet: after ten thousand accepts it is 1.5 × raw, and 2.0 at first',
    ],
  }),
  ...against('last of 10,000 has a lone broadcast', 'loneLastMs', 'at most', {
    raw: 0.8,
    'better-sse': 0.55,
  }),
  {
    what: 'from a `publish` without history to the socket of another node, p50',
    against: '× raw ioredis',
    measure: cluster('hop', 'publish', 'writtenP50', 'raw'),
    limit: 1.3,
    is: 'at most',
    inShort: true,
  },
  {
    what: 'direct sends answered by another node, 50 under way, one connection: per second',
    against: '× raw ioredis round trips',
    measure: cluster('answered', 'send', 'perSecond', 'raw-round-trip'),
    obstacle:
      'two nodes, a client and Redis share two cores, and a receipt needs look-up, message id, deadline and retry',
    limit: 0.8,
    is: 'at least',
  },
  {
    what: 'broadcast to 1,000 of another node, 8 outstanding: its CPU per delivery',
    against: '× socket.io with its Redis adapter',
    measure: cluster('fan-out', 'broadcast', 'sustainedCpuUs', 'socket-io'),
    limit: 1 / 5,
    is: 'at most',
    inShort: true,
  },
  {
    what: 'the same: deliveries/s',
    obstacle: 'two nodes, the clients and Redis share two cores',
    against: '× socket.io with its Redis adapter',
    measure: cluster('fan-out', 'broadcast', 'sustainedPerSecond', 'socket-io'),
    limit: 5,
    is: 'at least',
  },
  {
    what: 'registration, 50 under way: per second',
    against: '× a bare `SET`',
    measure: cluster('registration', 'register', 'perSecond', 'raw-set'),
    obstacle: 'one script call, but each guard (lease, tombstone, former owner, index) is a command inside it',
    limit: 0.8,
    is: 'at least',
  },
  {
    what: 'registration: script calls',
    against: 'each, heartbeats of the nodes included',
    measure: cluster('registration', 'register', 'scripts'),
    // One heartbeat among a few thousand calls is none of theirs.
    limit: 1.001,
    is: 'at most',
    digits: 4,
  },
  {
    what: 'idle cluster of 8 nodes: Redis commands/s with 2,000 connections each',
    against: '× without connections',
    measure: {
      report: 'growth',
      table: 'nodes',
      row: '8-full',
      metric: 'commandsPerSecond',
      by: '8-empty',
    },
    limit: 1.5,
    is: 'at most',
  },
];

function against(
  what: string,
  metric: string,
  is: Goal['is'],
  limits: Readonly<Record<string, number | readonly [limit: number, obstacle: string]>>,
): Goal[] {
  return Object.entries(limits).map(([row, given]) => {
    const [limit, obstacle] = typeof given === 'number' ? [given] : given;
    return {
      what,
      against: `× ${row === 'floor' ? 'the floor in C' : row}`,
      measure: { report: 'results', table: HUGE, row: 'koa', metric, by: row },
      limit,
      is,
      obstacle,
      inShort: true,
    };
  });
}

function own(what: string, unit: string, metric: string, limit: number): Goal {
  const measure: Measure = { report: 'results', table: HUGE, row: 'koa', metric };
  return { what, against: unit, measure, limit, is: 'at most', inShort: true };
}

function cluster(table: string, row: string, metric: string, base?: string): Measure {
  const by = base === undefined ? {} : { by: base };
  return { report: 'cluster', table, row, metric, ...by };
}
