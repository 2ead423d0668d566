import type { SharedLimit } from '../../contracts/authorization.js';
import type { NodeInfo, Registration, RegistrationResult, Route } from '../../contracts/cluster.js';
import type { Registered } from '../../contracts/listener.js';
import { SseError } from '../../errors.js';
import { PAGE_LOAD_TAKEOVERS } from '../../options/sse-options.js';
import type { ClusterNode } from './cluster-node.js';
import { nodeIdOf } from './frames.js';
import { Batches } from './batches.js';
import { type Partition, publishCommand } from './keys.js';
import { type NodeLeases, routeTimes } from './leases.js';
import type { ReplyOf, RequestOf } from './script.js';
import {
  countersScript,
  countScript,
  type RegisterAnswer,
  type RegisterRequest,
  registerScript,
  type ResolvedRoute,
  resolveScript,
  unregisterScript,
} from './scripts.js';
import type { UnreadableKeys } from './unreadable.js';

/** Longer than any registration that may still be under way. */
const TOMBSTONE_MS = 60_000;
const LEASE_TRIES = 3;
/** Registrations, or their removals, that one script call does: this node prepares the next ones while Redis runs them. */
const MOST_PER_CALL = 32;

type Mode = RegisterRequest['mode'];
type Registering = RegisterRequest['registrations'][number] & {
  /** Its counters in the partition of its route. */
  readonly counted: readonly Counted[];
};
type Removing = Pick<Registering, 'conn' | 'tok'>;

/**
 * The routes of all nodes, as this node changes and reads them. Registrations of one turn of the event loop and partition
 * travel in one call, and so do their removals; each has its own answer. In a rush, registrations wait for the answer to those
 * before, and share the next call.
 */
export class RedisRoutes {
  // Registrations without an answer, oldest first, with the time of that: they may arrive after the connection has ended.
  readonly #doubtful = new Map<string, number>();
  readonly #registrations: Readonly<Record<Mode, Batches<Partition, Registering, RegisterAnswer>>>;
  readonly #removals: Batches<Partition, Removing, 'REMOVED' | 'NONE' | 'FOREIGN'>;
  readonly counters: ConnectionCounters;
  /** Whether a script registers connections, and plain commands do not. */
  readonly #registersByScript: boolean;

  constructor(
    private readonly node: ClusterNode,
    private readonly leases: Pick<
      NodeLeases,
      'leaseOf' | 'epochOf' | 'clockOf' | 'reopen' | 'graceMs' | 'observeRoutes' | 'removedRoutes' | 'routesBeside'
    >,
    private readonly unreadable: Pick<UnreadableKeys, 'watchHashes'>,
  ) {
    const { redisAtomicEnabled: scripts, ...atomic } = node.options.atomicOperation;
    this.counters = new ConnectionCounters(node, leases, unreadable);
    this.#registersByScript = scripts && atomic.connectionRegistrationAtomic;
    const registering = (mode: Mode) =>
      new Batches<Partition, Registering, RegisterAnswer>(
        // Plain commands do one registration per call.
        this.#registersByScript ? MOST_PER_CALL : 1,
        (partition, registrations) => this.#registerAll(partition, registrations, mode),
        { atOnce: 2 },
      );
    this.#registrations = {
      take: registering('take'),
      load: registering('load'),
      nx: registering('nx'),
      restore: registering('restore'),
    };
    this.#removals = new Batches(
      scripts && atomic.connectionUnregistrationAtomic ? MOST_PER_CALL : 1,
      (partition, removals) => this.#unregisterAll(partition, removals),
    );
  }

  /** Registrations without an answer that may still arrive. */
  get doubtful(): number {
    return this.#doubtful.size;
  }

  async register(registration: Registration): Promise<RegistrationResult> {
    const { connectionId, token, onDuplicate, openedAt, pageLoad = false } = registration;
    const takes = onDuplicate === 'reject' ? 'nx' : pageLoad ? 'load' : 'take';
    const fencingToken = openedAt === undefined ? undefined : this.#tokenOf(connectionId, openedAt);
    const mode = openedAt === undefined ? takes : 'restore';
    const counted = this.counters.begin(registration);
    const { answer, refusal } = await this.#count(registration, mode, fencingToken, counted);
    const { result } = answer;
    if (result === 'NEW' && refusal !== undefined) {
      await this.unregister(connectionId, token);
      return refused(refusal.result, refusal.limit.name);
    }
    if (isOwner(result)) return { outcome: 'registered', fencingToken: answer.fencingToken };
    if (result === 'GONE') throw lost(result);
    await this.counters.leave(token);
    if (result === 'STORM') return { outcome: 'storm' };
    if (result === 'FULL' || result === 'OFTEN') {
      return refused(result, this.#countedInside(counted, connectionId)[answer.fencingToken - 1]?.limit.name);
    }
    return { outcome: 'exists', nodeId: nodeIdOf(answer.ownerInc) };
  }

  /**
   * Registers a connection of this node again, without taking the id from a live owner whose fencing token is larger. Returns
   * whether the connection owns its id now; else the fencing token of the owner.
   * @throws SseError
   */
  async restore(registered: Registered): Promise<true | { readonly fencingToken: number }> {
    const counted = this.counters.of(registered.token);
    const { answer } = await this.#count(registered, 'restore', registered.fencingToken, counted);
    return isOwner(answer.result) ? true : { fencingToken: answer.fencingToken };
  }

  async unregister(connectionId: string, token: string): Promise<boolean> {
    const partition = this.node.gateway.keys.partitionOf(connectionId);
    const [result] = await Promise.all([
      this.#removals.call(partition, { conn: connectionId, tok: token }),
      this.counters.leave(token),
    ]);
    this.#doubtful.delete(token);
    return result === 'REMOVED';
  }

  /** The route of a connection id, with the incarnation of its owner. @throws SseError `UNAVAILABLE` while routes are lost */
  async find(connectionId: string): Promise<ResolvedRoute | undefined> {
    const { gateway } = this.node;
    const partition = gateway.keys.partitionOf(connectionId);
    const request = { partition, epoch: this.leases.epochOf(partition), conns: [connectionId] };
    const reply = await gateway.run(resolveScript, request);
    const route = reply.status === 'LIMIT' ? undefined : reply.routes[0];
    if (route !== undefined || reply.status !== 'PARTIAL') return route;
    throw new SseError('UNAVAILABLE', 'the routes of this cluster were lost and are written again; try again later');
  }

  async locate(connectionId: string): Promise<Route | undefined> {
    const route = await this.find(connectionId);
    if (route === undefined) return undefined;
    const { inc, fencingToken, user } = route;
    return { connectionId, nodeId: nodeIdOf(inc), fencingToken, ...(user !== '' && { user }) };
  }

  async count(): Promise<number> {
    const counts = await this.#counts();
    return counts.reduce((sum, { live }) => sum + live, 0);
  }

  async nodes(): Promise<readonly NodeInfo[]> {
    const routes = new Map<string, number>();
    for (const { nodes } of await this.#counts()) {
      for (const { inc, routes: some } of nodes) {
        const nodeId = nodeIdOf(inc);
        routes.set(nodeId, (routes.get(nodeId) ?? 0) + some);
      }
    }
    return [...routes]
      .map(([nodeId, connections]) => ({ nodeId, connections, self: nodeId === this.node.nodeId }))
      .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  }

  #counts() {
    const { gateway } = this.node;
    const { graceMs } = this.leases;
    return Promise.all(gateway.keys.partitions.map(partition => gateway.run(countScript, { partition, graceMs })));
  }

  /** Registers a connection, and counts it where its counters are elsewhere, at the same time. Only a new one can be refused. */
  async #count(given: Given, mode: Mode, fencingToken: number | undefined, all: readonly Counted[]) {
    const { connectionId, token: tok, user, trace, maxConnections } = given;
    const partition = this.node.gateway.keys.partitionOf(connectionId);
    const counted = this.#countedInside(all, connectionId);
    const room = maxConnections && maxConnections - this.leases.routesBeside(partition);
    const limits = counted.map(({ limit }) => formatLimit(limit)).join('');
    const one = { conn: connectionId, tok, user, more: { fencingToken, room, limits, trace }, counted };
    const registering = this.#registerOne(partition, one, mode);
    if (counted.length === all.length) return { answer: await registering, refusal: undefined };
    const outside = all.filter(entry => !counted.includes(entry));
    const [answer, refusal] = await Promise.all([
      registering,
      mode === 'restore' ? this.counters.renew(outside) : this.counters.enter(outside),
    ]);
    if (refusal !== undefined && (answer.result === 'TOOK' || answer.result === 'DUP')) {
      await this.counters.renew(outside);
    }
    return { answer, refusal };
  }

  /** On the bus of a Redis Cluster no script knows who hears: before a storm is believed, all masters are asked. */
  async #registerOne(partition: Partition, one: Registering, mode: Mode): Promise<RegisterAnswer> {
    const { gateway } = this.node;
    const answer = await this.#registrations[mode].call(partition, one);
    if (answer.result !== 'STORM' || gateway.keys.numsub !== undefined) return answer;
    if (await gateway.hears(partition.channelPrefix + answer.ownerInc)) return answer;
    const [again = answer] = await this.#registerAll(partition, [one], mode, 'NUMSUB');
    return again;
  }

  /** The counters that the script of the registration changes itself. */
  #countedInside(counted: readonly Counted[], connectionId: string): readonly Counted[] {
    if (counted.length === 0) return counted;
    const partition = this.node.gateway.keys.partitionOf(connectionId);
    return counted.filter(entry => this.#registersByScript && entry.partition === partition);
  }

  async #registerAll(partition: Partition, registrations: readonly Registering[], mode: Mode, numsub?: 'NUMSUB') {
    const { gateway, options, signer } = this.node;
    const { takeoverWindow } = options.connection;
    const takeoverLimit = mode === 'load' ? PAGE_LOAD_TAKEOVERS : options.connection.takeoverLimit;
    const request = {
      partition,
      ...this.#sender(partition, registrations),
      mode,
      ...routeTimes(options),
      takeoverLimit,
      takeoverWindow,
      numsub: numsub ?? gateway.keys.numsub,
      pubCommand: publishCommand(gateway.keys.nodeMode),
      counters: registrations.flatMap(({ counted }) => counted.map(({ counter }) => counter)),
      registrations,
    };
    for (let tries = 1; ; tries += 1) {
      const { gen } = this.leases.leaseOf(partition);
      for (const { tok } of registrations) signer.registering(tok);
      const registering = gateway.run(registerScript, { ...request, gen });
      const reply = await this.unreadable.watchHashes(request.counters, registering).catch((error: unknown) => {
        for (const { tok } of registrations) this.#doubt(tok);
        throw error;
      });
      if (reply.status === 'OK') {
        this.leases.observeRoutes(partition, reply.routes);
        return reply.numbers.map(number => reply.answers[number]);
      }
      // A lost lease says nothing about the owners of the ids.
      if (tries === LEASE_TRIES) throw lost(reply.status);
      await this.leases.reopen(partition);
    }
  }

  async #unregisterAll(partition: Partition, removals: readonly Removing[]) {
    const registrations = removals.map(({ conn, tok }) => {
      return { conn, tok, tombstoneMs: this.#doubtful.has(tok) ? TOMBSTONE_MS : 0 };
    });
    const request = { partition, ...this.#sender(partition, removals), registrations };
    const { results } = await this.node.gateway.run(unregisterScript, request);
    this.leases.removedRoutes(partition, results.filter(result => result === 'REMOVED').length);
    return results;
  }

  #sender(partition: Partition, registrations: readonly Removing[]) {
    const { gateway, inc } = this.node;
    return { inc, tombstones: registrations.map(({ tok }) => gateway.keys.tombstone(partition, inc, tok)) };
  }

  /** The fencing token of a connection that opened without the cluster: that time by Redis' clock, in microseconds. */
  #tokenOf(connectionId: string, openedAt: number): number {
    const now = this.leases.clockOf(this.node.gateway.keys.partitionOf(connectionId)) ?? 0;
    return Math.max(1, Math.round((now - performance.now() + openedAt) * 1_000));
  }

  #doubt(token: string): void {
    const now = performance.now();
    for (const [old, since] of this.#doubtful) {
      if (now - since <= TOMBSTONE_MS) break;
      this.#doubtful.delete(old);
    }
    this.#doubtful.delete(token);
    this.#doubtful.set(token, now);
  }
}

type Given = Omit<Registered, 'fencingToken'> & Pick<Registration, 'trace' | 'maxConnections'>;

/** Whether the registration is that of the owner now. */
function isOwner(result: RegisterAnswer['result']): result is 'NEW' | 'TOOK' | 'DUP' {
  return result === 'NEW' || result === 'TOOK' || result === 'DUP';
}

function refused(result: 'FULL' | 'OFTEN', name: string | undefined): RegistrationResult {
  if (result === 'OFTEN' && name !== undefined) return { outcome: 'rate-limited', name };
  return { outcome: 'full', ...(name !== undefined && { name }) };
}

function lost(status: 'GONE' | 'LOST'): SseError {
  return new SseError('UNAVAILABLE', `a registration must keep its lease, got ${status}; connect again`);
}

/** Entries that one script call changes. */
const ENTRIES_PER_CALL = 100;

/** A connection in the counter of a user or an address. */
interface Counted {
  readonly partition: Partition;
  /** The key. */
  readonly counter: string;
  readonly tok: string;
  readonly limit: SharedLimit;
}

const NONE: readonly Counted[] = [];

/**
 * The connections of this node in the counters of the cluster, which bound those of a user or an address. `register.lua` counts
 * a connection where the counter is in the partition of its route, as it is for users and with one partition. The other calls
 * go through here. An entry names the lease of this node, and counts no longer than that lease.
 */
class ConnectionCounters {
  /** By token. Kept until the counters are certainly left, so that the walk over all routes can repeat that. */
  readonly #registered = new Map<string, { readonly connectionId: string; readonly entries: readonly Counted[] }>();
  readonly #calls: Readonly<Record<CountersMode, Batches<Partition, Counted, CountersResult>>>;

  constructor(
    private readonly node: ClusterNode,
    private readonly leases: Pick<NodeLeases, 'leaseOf'>,
    private readonly unreadable: Pick<UnreadableKeys, 'watchHashes'>,
  ) {
    const calls = (mode: CountersMode) =>
      new Batches<Partition, Counted, CountersResult>(ENTRIES_PER_CALL, (partition, entries) =>
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
  async enter(entries: readonly Counted[]) {
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
    for (let at = 0; at < calls.length; at += ENTRIES_PER_CALL) {
      await Promise.all(calls.slice(at, at + ENTRIES_PER_CALL).map(call => call()));
    }
  }

  async #call(partition: Partition, entries: readonly Counted[], mode: CountersMode) {
    const { gateway, options } = this.node;
    const { gen } = this.leases.leaseOf(partition);
    const { keyMs } = routeTimes(options);
    const counters = entries.map(({ counter }) => counter);
    const limits = entries.map(({ tok, limit }) => ({ tok, limits: formatLimit(limit) }));
    const request = { leases: partition.leases, counters, gen, mode, keyMs, entries: limits };
    const { results } = await this.unreadable.watchHashes(counters, gateway.run(countersScript, request));
    return results;
  }
}

type CountersMode = RequestOf<typeof countersScript>['mode'];
type CountersResult = ReplyOf<typeof countersScript>['results'][number];

/** A limit as the scripts read it. */
function formatLimit({ most, perMinute }: SharedLimit): string {
  return `${most ?? ''},${perMinute ?? ''};`;
}
