/**
 * The demo, watched from inside: answers `{ ask: 'rest' }` over IPC with everything that may not be left when all is over,
 * and `{ ask: 'signals' }` with the number of handlers for SIGTERM.
 */
import * as v8 from 'node:v8';
import { Redis } from 'ioredis';
import { RedisMember } from '../../src/cluster/redis/redis-member.js';
import { PendingSend } from '../../src/cluster/redis/pending-send.js';
import { CallContext } from '../../src/resilience/call-context.js';

/** What waits in a node. */
export interface Rest {
  /** Calls that the policy has not let finish: a promise of each is unsettled. */
  readonly calls: number;
  /** Sends that wait for their owner's answer. */
  readonly sends: number;
  /** Commands that wait for other nodes. */
  readonly commands: number;
  /** Commands that a client of Redis holds back until it is connected. */
  readonly offline: number;
  /** Commands of Redis without an answer. */
  readonly unanswered: number;
}

const members: RedisMember[] = [];
const { join } = RedisMember.prototype;
RedisMember.prototype.join = function (this: RedisMember) {
  members.push(this);
  return join.call(this);
};
const clients: Redis[] = [];
const { connect } = Redis.prototype;
Redis.prototype.connect = function (this: Redis, ...args) {
  if (!clients.includes(this)) clients.push(this);
  return connect.apply(this, args);
};

process.on('message', ({ ask }: { ask: 'rest' | 'signals' }) => {
  process.send?.(ask === 'rest' ? rest() : process.listenerCount('SIGTERM'));
});
await import('../../examples/01-one-process/main.js');

function rest(): Rest {
  const count = (type: new (...args: never[]) => unknown): number =>
    v8.queryObjects(type, { format: 'count' });
  return {
    calls: count(CallContext),
    sends: sum(members, ({ router }) => router.pending) + count(PendingSend),
    commands: sum(members, ({ bus }) => bus.pending),
    // ioredis keeps it to itself.
    offline: sum(clients, client => (Reflect.get(client, 'offlineQueue') as unknown[]).length),
    unanswered: sum(clients, ({ commandQueue }) => commandQueue.length),
  };
}

function sum<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0);
}
