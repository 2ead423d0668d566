import fc from 'fast-check';
import { LEASE_MS, TTL_MS } from './bench-node.js';
import {
  CONNS,
  NODES,
  advance,
  lease,
  leaseThenRetry,
  look,
  lose,
  reap,
  refresh,
  register,
  restart,
  stall,
  expire,
  unregister,
  type Command,
} from './model-steps.js';
import { LIMIT } from './partition-model.js';

/**
 * Sequences of commands, biased to where bugs were: batches of one, several routes per node, a retry of one's own token
 * right after a lease, leases that run out.
 */
export function modelCommands(partitions: number): fc.Arbitrary<Iterable<Command>> {
  const partition = fc.nat({ max: partitions - 1 });
  const node = fc.nat({ max: NODES - 1 });
  const conn = fc.constantFrom(...CONNS);
  const often = <T>(weight: number, arbitrary: fc.Arbitrary<T>) => ({ weight, arbitrary });
  // 0: a new token; 1: the newest again; 2 and 3: older ones.
  const which = fc.oneof(often(4, fc.constant(0)), often(3, fc.constant(1)), often(1, fc.integer({ min: 2, max: 3 })));
  const mode = fc.oneof(
    often(4, fc.constant('take' as const)),
    often(2, fc.constant('load' as const)),
    often(2, fc.constant('restore' as const)),
    often(1, fc.constant('nx' as const)),
  );
  const heard = fc.oneof(often(4, fc.constant(true)), often(1, fc.constant(false)));
  const limit = fc.oneof(often(4, fc.constant(1)), often(1, fc.constantFrom(2, 5)));
  const ms = fc.constantFrom(
    // A clock that is set back, by little and by more than a lease.
    -1,
    -2 * LEASE_MS,
    1,
    999,
    LEASE_MS / 3,
    LEASE_MS - 1,
    LEASE_MS,
    LEASE_MS + 1,
    LIMIT.takeoverWindow,
    TTL_MS,
  );
  const weighted = [
    often(
      4,
      fc.tuple(partition, node).map(([p, n]) => lease(p, n)),
    ),
    often(
      3,
      fc.tuple(partition, node, conn).map(([p, n, c]) => leaseThenRetry(p, n, c)),
    ),
    often(
      1,
      fc.tuple(partition, node, fc.constantFrom(1, 2, 4)).map(args => stall(...args)),
    ),
    often(
      10,
      fc.tuple(partition, node, conn, which, mode, heard).map(args => register(...args)),
    ),
    often(
      3,
      fc.tuple(partition, node, conn, which, fc.boolean()).map(args => unregister(...args)),
    ),
    often(
      4,
      fc.tuple(ms).map(([t]) => advance(t)),
    ),
    often(
      4,
      fc.tuple(partition, limit).map(args => reap(...args)),
    ),
    often(
      1,
      fc.tuple(partition, limit, node).map(args => reap(...args)),
    ),
    often(
      1,
      partition.map(p => expire(p)),
    ),
    often(
      2,
      fc.tuple(partition, node, fc.constantFrom(0, TTL_MS)).map(args => refresh(...args)),
    ),
    often(
      2,
      partition.map(p => look(p)),
    ),
    often(
      1,
      fc.tuple(partition, fc.boolean()).map(args => lose(...args)),
    ),
    often(
      1,
      node.map(n => restart(n)),
    ),
  ];
  return fc.commands([fc.oneof(...weighted)], { maxCommands: 40, size: 'max' });
}
