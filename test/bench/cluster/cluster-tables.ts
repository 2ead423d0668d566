import type { BenchResult } from '../bench-result.js';
import type { Column, Table } from '../table.js';
import type { Measured } from './figures.js';

type Layout = Omit<Table, 'results'> & {
  /** By name of the row, in their order. */
  readonly descriptions: Readonly<Record<string, string>>;
};

const OPERATION: readonly Column[] = [
  { title: 'per second', metric: 'perSecond', digits: 0 },
  { title: 'Redis CPU µs', metric: 'redisCpuUs', digits: 2 },
  { title: 'Redis commands, scripts’ included', metric: 'commands', digits: 2 },
  { title: 'script calls', metric: 'scripts', digits: 2 },
];

/** The page's tables; a row belongs to each that names it. */
const LAYOUTS: readonly Layout[] = [
  {
    id: 'hop',
    title: 'One event from node to node',
    note:
      'No other call is under way. From the call in one process until the other writes to the socket of its only connection, and ' +
      'until the client, a third process, has it; with ioredis alone, from `redis.publish` until the `messageBuffer` listener ' +
      'of the other process is called. Same bytes, blocks of 100 in turn.',
    rows: 'way',
    columns: [
      { title: 'to the socket: p50 µs', metric: 'writtenP50', digits: 0 },
      { title: 'p99 µs', metric: 'writtenP99', digits: 0 },
      { title: 'to the client: p50 µs', metric: 'hadP50', digits: 0 },
      { title: 'p99 µs', metric: 'hadP99', digits: 0 },
    ],
    descriptions: {
      raw: 'ioredis, publish → subscribe',
      publish: '`publish` without history',
      'publish-history': '`publish` with history',
      send: '`sendMessageToConnection`',
    },
  },
  {
    id: 'one-way',
    title: 'Events to one connection of another node, unanswered',
    note:
      'Fifty calls under way, each until Redis has answered; events per second from the first call until the client of the ' +
      'other node has the last. With ioredis alone: as many `PUBLISH`, until the subscriber of the other process has the last.',
    rows: 'way',
    columns: OPERATION,
    descriptions: {
      'raw-publish': 'ioredis, publish → subscribe',
      'send-none': "`sendMessageToConnection`, `ack: 'none'`",
      publish: '`publish` without history',
      'publish-history': '`publish` with history',
    },
  },
  {
    id: 'answered',
    title: 'Direct sends to one connection of another node, answered by it',
    note:
      'Fifty under way, each until its receipt has an outcome. With ioredis alone: as many round trips, where the ' +
      'other process publishes an answer of a few bytes to each message, and the sender waits for both its `PUBLISH` and that ' +
      'answer.',
    rows: 'way',
    columns: OPERATION,
    descriptions: {
      'raw-round-trip': 'ioredis, publish → subscribe → publish → subscribe',
      send: "`sendMessageToConnection`, `ack: 'owner'`",
    },
  },
  {
    id: 'registration',
    title: 'Registration of a connection',
    note:
      'Fifty `ClusterCoordinator.register` of new ids under way, beside as many bare `SET` of a value of 48 bytes. The ' +
      'counts of Redis include what the nodes send beside that, such as heartbeats.',
    rows: 'operation',
    columns: OPERATION,
    descriptions: { 'raw-set': 'ioredis, `SET`', register: '`register`' },
  },
  {
    id: 'fan-out',
    title: 'Broadcasts of one node to the connections of another',
    note:
      'Processor time of the node that has the connections. Lone: each event after all connections had the one before. socket.io over WebSocket ' +
      'without compression, with `@socket.io/redis-adapter`; it keeps no history.',
    rows: 'node',
    columns: [
      { title: 'lone: CPU µs/delivery', metric: 'loneCpuUs', digits: 2 },
      { title: 'lone: last ms', metric: 'loneLastMs', digits: 1 },
      { title: '8 outstanding: CPU µs', metric: 'sustainedCpuUs', digits: 2 },
      { title: '8 outstanding: deliveries/s', metric: 'sustainedPerSecond', digits: 0 },
      { title: 'accept: CPU µs', metric: 'acceptCpuUs', digits: 0 },
      { title: 'heap KB/conn', metric: 'heapKb', digits: 1 },
    ],
    descriptions: {
      'socket-io': 'socket.io with its Redis adapter',
      broadcast: 'this library, without history',
      'broadcast-history': 'this library, with history',
    },
  },
];

/** The rounds as tables. */
export function clusterTables(
  rounds: readonly { readonly hop: Measured; readonly work: Measured; readonly fanOut: Measured }[],
): Table[] {
  return LAYOUTS.map(({ descriptions, ...layout }) => {
    const part = layout.id === 'hop' ? 'hop' : layout.id === 'fan-out' ? 'fanOut' : 'work';
    const results = Object.entries(descriptions).flatMap(([name, description]): BenchResult[] => {
      const measured = rounds.flatMap(round => {
        const figures = round[part][name];
        return figures === undefined ? [] : [figures];
      });
      return measured.length === 0 ? [] : [{ name, description, rounds: measured }];
    });
    return { ...layout, results };
  });
}
