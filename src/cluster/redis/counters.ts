import type { SharedLimit } from '../../contracts/authorization.js';
import type { Registration } from '../../contracts/cluster.js';
import { Batches } from './gateway.js';
import type { ClusterNode } from './cluster-node.js';
import type { Partition } from './keys.js';
import { type NodeLeases, routeTimes } from './leases.js';
import type { ReplyOf, RequestOf } from './script.js';
import { countersScript } from './scripts.js';

/** Entries that one script call changes. */
const MOST_PER_CALL = 100;

/** A connection in the counter of a user or an address. */
export interface Counted {
  readonly partition: Partition;
  /** The key. */
  readonly counter: string;
  readonly tok: string;
  readonly limit: SharedLimit;
}

/** Why a connection may not count. */
export interface CounterRefusal {
  readonly result: 'FULL' | 'OFTEN';
  readonly limit: SharedLimit;
}

/** The connections of one registration's counters. */
interface Registered {
  readonly connectionId: string;
  readonly entries: readonly Counted[];
}

const NONE: readonly Counted[] = [];

/**
 * The connections of this node in the counters of the cluster, which bound those of a user or an address. `register.lua` counts
 * a connection where the counter is in the partition of its route, as it is for users and with one partition. The other calls
 * go through here. An entry names the lease of this node, and counts no longer than that lease.
 */
export class ConnectionCounters {
  /** By token. Kept until the counters are certainly left, so that the walk over all routes can repeat that. */
  readonly #registered = new Map<string, Registered>();
  readonly #calls: Readonly<Record<Mode, Batches<Partition, Counted, CountersResult>>>;

  constructor(
    private readonly node: ClusterNode,
    private readonly leases: Pick<NodeLeases, 'leaseOf'>,
  ) {
    const calls = (mode: Mode) =>
      new Batches<Partition, Counted, CountersResult>(MOST_PER_CALL, (partition, entries) =>
        this.#call(partition, entries, mode),
      );
    this.#calls = { enter: calls('enter'), renew: calls('renew'), leave: calls('leave') };
  }

  /** The entries of a registration, which {@link leave} removes. */
  begin({ connectionId, token, limits }: Pick<Registration, 'connectionId' | 'token' | 'limits'>): readonly Counted[] {
    if (limits === undefined || limits.length === 0) return this.of(token);
    const { keys } = this.node.gateway;
    const entries = limits.map(limit => {
      const partition = keys.partitionOf(limit.name);
      return { partition, counter: keys.counter(partition, limit.name), tok: token, limit };
    });
    this.#registered.set(token, { connectionId, entries });
    return entries;
  }

  /** The entries of a registration that began before. */
  of(token: string): readonly Counted[] {
    return this.#registered.get(token)?.entries ?? NONE;
  }

  /** Counts a connection, unless one of its limits refuses it; then the other counters may count it all the same. @throws SseError */
  async enter(entries: readonly Counted[]): Promise<CounterRefusal | undefined> {
    const refusals = await Promise.all(
      entries.map(async entry => {
        const result = await this.#calls.enter.call(entry.partition, entry);
        return result === 'DONE' ? undefined : { result, limit: entry.limit };
      }),
    );
    return refusals.find(refusal => refusal !== undefined);
  }

  /** Counts a connection, whatever its limits are. @throws SseError */
  async renew(entries: readonly Counted[]): Promise<undefined> {
    await Promise.all(entries.map(entry => this.#calls.renew.call(entry.partition, entry)));
  }

  /** The connection of a registration counts no more. @throws SseError */
  async leave(token: string): Promise<void> {
    const registered = this.#registered.get(token);
    if (registered === undefined) return;
    await Promise.all(registered.entries.map(entry => this.#calls.leave.call(entry.partition, entry)));
    if (this.#registered.get(token) === registered) this.#registered.delete(token);
  }

  /** Counts every connection of this node again, after a lease or a key was lost; those that ended count no more. @throws SseError */
  async renewAll(): Promise<void> {
    const calls: (() => Promise<unknown>)[] = [];
    for (const [token, { connectionId, entries }] of this.#registered) {
      const isHere = this.node.listener.holds(connectionId, token);
      calls.push(() => (isHere ? this.renew(entries) : this.leave(token)));
    }
    for (let at = 0; at < calls.length; at += MOST_PER_CALL) {
      await Promise.all(calls.slice(at, at + MOST_PER_CALL).map(call => call()));
    }
  }

  async #call(partition: Partition, entries: readonly Counted[], mode: Mode): Promise<readonly CountersResult[]> {
    const { gateway, options } = this.node;
    const { results } = await gateway.run(countersScript, {
      leases: partition.leases,
      counters: entries.map(({ counter }) => counter),
      gen: this.leases.leaseOf(partition).gen,
      mode,
      keyMs: routeTimes(options).keyMs,
      entries: entries.map(({ tok, limit }) => ({ tok, limits: formatLimit(limit) })),
    });
    return results;
  }
}

type Mode = RequestOf<typeof countersScript>['mode'];
type CountersResult = ReplyOf<typeof countersScript>['results'][number];

/** A limit as the scripts read it. */
export function formatLimit({ most, perMinute }: SharedLimit): string {
  return `${most ?? ''},${perMinute ?? ''};`;
}
