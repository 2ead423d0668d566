/**
 * The demo, watched from inside: answers `{ ask: 'rest' }` over IPC with everything that may not be left when all is over,
 * and `{ ask: 'signals' }` with the number of handlers for SIGTERM.
 */
import { Redis } from 'ioredis';
import { CommandBus } from '../../src/cluster/redis/commands.js';
import { RedisGateway } from '../../src/cluster/redis/gateway.js';
import { JoinedNode } from '../../src/cluster/redis/joined-node.js';
import { MessageRouter } from '../../src/cluster/redis/messages.js';
import { CockatielPolicy } from '../../src/resilience/policies.js';

/** What waits in a node. */
export interface Rest {
  /** Promises of the policy, of the router, of the bus and of the way to Redis that have not settled. */
  readonly promises: number;
  /** Sends in the map of those that wait for their owner's answer. */
  readonly sends: number;
  /** Commands in the map of those that wait for other nodes. */
  readonly commands: number;
  /** Commands that a client of Redis holds back until it is connected. */
  readonly offline: number;
  /** Commands that a client of Redis has sent without an answer. */
  readonly unanswered: number;
}

let promises = 0;
const watched: readonly [object, string][] = [
  [CockatielPolicy.prototype, 'execute'],
  [MessageRouter.prototype, 'send'],
  [CommandBus.prototype, 'ask'],
  [CommandBus.prototype, 'askAll'],
  [RedisGateway.prototype, 'run'],
  [RedisGateway.prototype, 'publish'],
];
for (const [prototype, name] of watched) watch(prototype, name);

const nodes: JoinedNode[] = [];
before(JoinedNode.prototype, 'join', node => nodes.push(node));
const clients = new Set<Redis>();
before(Redis.prototype as Redis, 'connect', client => clients.add(client));

process.on('message', ({ ask }: { ask: 'rest' | 'signals' }) => {
  process.send?.(ask === 'rest' ? rest() : process.listenerCount('SIGTERM'));
});
await import('../../examples/01-one-process/main.js');

function rest(): Rest {
  return {
    promises,
    sends: sum(nodes, ({ router }) => router.pending),
    commands: sum(nodes, ({ bus }) => bus.pending),
    // ioredis keeps it to itself.
    offline: sum(clients, client => (Reflect.get(client, 'offlineQueue') as unknown[]).length),
    unanswered: sum(clients, ({ commandQueue }) => commandQueue.length),
  };
}

/** Counts the promises of a method that have not settled. */
function watch(prototype: object, name: string): void {
  const method = Reflect.get(prototype, name) as (...args: unknown[]) => Promise<unknown>;
  Reflect.set(prototype, name, function (this: object, ...args: unknown[]) {
    promises += 1;
    const result = method.apply(this, args);
    const settled = (): void => {
      promises -= 1;
    };
    result.then(settled, settled);
    return result;
  });
}

/** Calls `observe` with the object before each call of its method. */
function before<T extends object>(prototype: T, name: string, observe: (whose: T) => unknown): void {
  const method = Reflect.get(prototype, name) as (...args: unknown[]) => unknown;
  Reflect.set(prototype, name, function (this: T, ...args: unknown[]) {
    observe(this);
    return method.apply(this, args);
  });
}

function sum<T>(all: Iterable<T>, of: (one: T) => number): number {
  return [...all].reduce((total, one) => total + of(one), 0);
}
