import type { Registered } from '../../contracts/listener.js';
import type { ReconcileReport, ReconcileRequest } from '../../contracts/self-check.js';
import { SseError } from '../../errors.js';
import { Periodic } from '../../time.js';
import { type Difference, Findings, type InconsistencyKind, lastingDifferences } from '../differences.js';
import type { ClusterNode } from './cluster-node.js';
import { nodeIdOf } from './frames.js';
import type { Partition } from './keys.js';
import { type NodeLeases, routeTimes } from './leases.js';
import type { RouteExpiry } from './expiry.js';
import type { RedisRoutes } from './routes.js';
import { ownedScript, reconcileScript, refreshScript, type RouteState } from './scripts.js';

const ROUTES_PER_CALL = 200;
/** As many as one script call may touch. */
const STRETCH = 500;
const RETRY_MS = 1_000;

/** The parts of this node that a {@link Reconciler} uses. */
interface ReconcilerParts {
  readonly leases: Pick<NodeLeases, 'leaseOf' | 'reopen' | 'isSteady' | 'troubleOf'>;
  readonly registry: Pick<RedisRoutes, 'find' | 'restore' | 'unregister'> & {
    readonly counters: Pick<RedisRoutes['counters'], 'renewAll'>;
  };
  readonly expiry: Pick<RouteExpiry, 'reap'>;
  /** Notifies the other nodes of so many repairs. @throws SseError */
  readonly notify: (repaired: number) => Promise<void>;
}

/**
 * Compares the connections of this node with its routes in Redis, in both directions, and repairs what differs. There is one
 * walk over both sides, with different aims:
 *
 * - **renew** gives every route a new time to live and repairs at once. It runs after outages, and whenever a third of
 *   the time to live is over, whatever the settings of `consistency` are.
 * - **reconcile** only compares. At rest its walk is quick: two script calls per partition, however many connections there
 *   are. Counts show a route that is missing, another node's, or too much, and an entry of the index without a route.
 *   Equal counts can hide a wrong token, or a missing route behind one that is too much; therefore the walk also compares
 *   the next 500 connections and the next 500 routes one by one: n of them within n / 500 walks. A difference makes the
 *   walk full, and so does the first call and the one after a call that failed or found something.
 *
 * The state that a walk saw may be over when it is repaired. Each repair is therefore one that cannot harm: a route is
 * restored only where there is no live owner, and removed only with the token that was seen.
 */
export class Reconciler {
  /** A run that is asked for during a renewal follows it; one that fails is repeated until it succeeds. */
  readonly renewal: Periodic;
  /** Where the last stretch of a partition began. */
  readonly #stretches = new Map<Partition, number>();
  /** Whether the next walk must be full. */
  #suspicious = true;

  constructor(
    private readonly node: ClusterNode,
    private readonly parts: ReconcilerParts,
  ) {
    const everyMs = routeTimes(node.options).ttlMs / 3;
    this.renewal = new Periodic(() => this.#renew(), { everyMs });
  }

  /** Compares, and repairs as far as the request allows. Never rejects: a failure makes the report unknown. */
  async reconcile(request: ReconcileRequest): Promise<ReconcileReport> {
    const findings = new Findings(request.maxRepairs);
    try {
      if (request.scope === 'node') await this.#compare(request.settle, findings);
      else if (this.#steadyPartitions().length > 0) await this.#sample(request.sample, findings);
      else return findings.unknown('the nodes may just have been cut off together');
      if (request.notify && findings.repaired > 0) await this.parts.notify(findings.repaired);
    } catch (error) {
      return findings.unknown(error instanceof Error ? error.message : String(error));
    }
    return findings.report();
  }

  async #renew(): Promise<void> {
    const { logger, telemetry } = this.node;
    try {
      await telemetry.reconciling(async () => {
        const findings = new Findings();
        await this.#walk({ renew: true, findings, onPage: differences => this.#repairPage(differences, findings) });
        await this.parts.registry.counters.renewAll();
        return findings.report();
      });
    } catch (error) {
      logger.debug('the routes could not be compared; trying again', { error });
      this.renewal.runWithin(RETRY_MS);
    }
  }

  /** Repairs all of a page at once. Returns how many routes of this node were removed. */
  async #repairPage(differences: readonly Difference[], findings: Findings): Promise<number> {
    let removed = 0;
    await Promise.all(
      differences.map(async difference => {
        const kind = await this.#repair(difference);
        if (kind === undefined) return;
        if (isSurplus(difference)) removed += 1;
        findings.add({ kind, connectionId: difference.connectionId, repaired: true });
      }),
    );
    return removed;
  }

  async #compare(settle: number, findings: Findings): Promise<void> {
    const suspicious = this.#suspicious;
    // Until this comparison is over, in case that it fails.
    this.#suspicious = true;
    const isWell = !suspicious && (await this.#isWell(findings));
    this.#suspicious = !isWell && (await this.#compareAll(settle, findings));
  }

  /** Whether a quick walk finds no difference. */
  #isWell(findings: Findings): Promise<boolean> {
    return this.#walk({ quick: true, findings, onPage: async ({ length }) => (length === 0 ? 0 : undefined) });
  }

  /** Compares everything and repairs what differs. Returns whether something did. */
  async #compareAll(settle: number, findings: Findings): Promise<boolean> {
    const leases = this.#leases();
    const differences = await lastingDifferences(async () => {
      const seen: Difference[] = [];
      findings.checked = 0;
      await this.#walk({
        findings,
        onPage: async page => {
          seen.push(...page);
          return 0;
        },
      });
      return seen;
    }, settle);
    if (this.#leases() !== leases) throw lostLease();
    for (const difference of differences) {
      const { kind, connectionId } = difference;
      const repaired = findings.left > 0 && (await this.#repair(difference)) !== undefined;
      findings.add({ kind, connectionId, repaired });
    }
    return differences.length > 0;
  }

  /** The leases that the node holds, as one value. Two that began in one second differ in their epochs only. */
  #leases(): string {
    const { partitions } = this.node.gateway.keys;
    const leases = partitions.map(each => this.parts.leases.leaseOf(each));
    return leases.map(({ gen, epoch }) => `${gen}/${epoch}`).join(' ');
  }

  /**
   * Walks over the connections and the routes of this node, partition by partition. A quick walk ends, and returns false, at the
   * first difference or when the counts differ. @throws SseError, also when a walk that does not renew lost a lease
   */
  async #walk(walk: Walk): Promise<boolean> {
    for (const [partition, registered] of await byPartition(this.node)) {
      // The routes of a partition in trouble are renewed when it is well again; the others must not wait for that.
      if (walk.renew && this.parts.leases.troubleOf(partition) !== undefined) continue;
      const { length } = registered;
      const [from, to] = walk.quick ? this.#nextStretch(partition, length) : [0, length];
      const size = walk.quick ? STRETCH : ROUTES_PER_CALL;
      for (let at = from; at < to; at += size) {
        if (!(await this.#walkConnections(walk, partition, registered.slice(at, Math.min(at + size, to)))))
          return false;
      }
      if (walk.quick) {
        const { owned, all, indexed, removed } = await this.#walkRoutes(walk, partition, from, to - from);
        if (owned !== length || all !== indexed || removed === undefined) return false;
        continue;
      }
      const here = new Set(registered.map(({ connectionId }) => connectionId));
      for (let offset = 0; ;) {
        const page = await this.#walkRoutes(walk, partition, offset, ROUTES_PER_CALL, here);
        if (page.length < ROUTES_PER_CALL) break;
        // A route that was removed moves the others up.
        offset += page.length - (page.removed ?? 0);
      }
    }
    return true;
  }

  /**
   * From the newest connection to the oldest: a connection that ends moves only those after it, which were compared
   * already, so that none is passed over.
   */
  #nextStretch(partition: Partition, length: number): readonly [from: number, to: number] {
    const last = this.#stretches.get(partition) ?? 0;
    const to = last === 0 ? length : Math.min(last, length);
    const from = Math.max(0, to - STRETCH);
    this.#stretches.set(partition, from);
    return [from, to];
  }

  /** Compares connections of one partition with their routes: one script call. Returns whether the walk goes on. */
  async #walkConnections(walk: Walk, partition: Partition, registered: readonly Registered[]): Promise<boolean> {
    const { gateway, inc, listener, options } = this.node;
    const times = routeTimes(options);
    const reply = await gateway.run(refreshScript, {
      partition,
      inc,
      gen: this.parts.leases.leaseOf(partition).gen,
      ...times,
      ttlMs: walk.renew ? times.ttlMs : 0,
      connections: registered.map(({ connectionId: conn, token: tok }) => ({ conn, tok })),
    });
    if (reply.status !== 'OK') {
      if (!walk.renew) throw lostLease();
      await this.parts.leases.reopen(partition);
      // The routes of the new lease are restored by the next renewal.
      this.renewal.runWithin(0);
      return true;
    }
    walk.findings.checked += registered.length;
    const differences = registered.flatMap((each, at) => {
      const kind = KINDS[reply.states[at] ?? 'mine'];
      // It may have ended during the call.
      if (kind === undefined || !listener.holds(each.connectionId, each.token)) return [];
      return [{ ...each, kind }];
    });
    return (await walk.onPage(differences)) !== undefined;
  }

  /** Compares routes of one partition with their connections: one script call. The routes of ids in `here` are left out. */
  async #walkRoutes(walk: Walk, partition: Partition, offset: number, limit: number, here?: ReadonlySet<string>) {
    const { gateway, listener } = this.node;
    const { gen } = this.parts.leases.leaseOf(partition);
    const request = { partition, gen, offset, limit };
    const { owned, all, indexed, connections } = await gateway.run(ownedScript, request);
    const { length } = connections;
    walk.findings.checked += length;
    const differences = connections.flatMap<Difference>(({ conn: connectionId, tok: token }) =>
      listener.holds(connectionId, token) || here?.has(connectionId) === true
        ? []
        : [{ kind: token === '' ? 'index' : 'ghost', connectionId, token }],
    );
    return { owned, all, indexed, length, removed: await walk.onPage(differences) };
  }

  /** Makes a connection and its route agree. Returns what was repaired, if anything was. @throws SseError */
  async #repair(difference: Difference): Promise<InconsistencyKind | undefined> {
    const { kind, connectionId, token } = difference;
    const { registry } = this.parts;
    const { listener } = this.node;
    if (isSurplus(difference)) {
      const removed = await this.#remove(connectionId, token);
      // For an entry of the index alone there is no route to remove.
      return removed || kind === 'index' ? kind : undefined;
    }
    if (!listener.holds(connectionId, token)) return undefined;
    if (kind === 'wrong-token') await this.#removeFormer(connectionId);
    const { fencingToken = 0 } = difference;
    const restored = await registry.restore({ connectionId, token, fencingToken });
    if (restored !== true) {
      listener.onSuperseded(connectionId, token, restored.fencingToken);
      return 'foreign-route';
    }
    // It ended while it was restored, and its own release came too early.
    if (!listener.holds(connectionId, token)) await registry.unregister(connectionId, token);
    return kind === 'wrong-token' ? kind : 'missing-route';
  }

  /** Another connection of this node with the same id is newer; a token that no connection here has is a ghost. */
  async #removeFormer(connectionId: string): Promise<void> {
    const route = await this.parts.registry.find(connectionId);
    if (route?.inc === this.node.inc) await this.#remove(connectionId, route.tok);
  }

  /** Removes a route whose connection is not here. Returns whether it was removed. */
  async #remove(connectionId: string, token: string): Promise<boolean> {
    if (this.node.listener.holds(connectionId, token)) return false;
    return this.parts.registry.unregister(connectionId, token);
  }

  /** The partitions in which the leases of other nodes can be judged. */
  #steadyPartitions(): Partition[] {
    return this.node.gateway.keys.partitions.filter(each => this.parts.leases.isSteady(each));
  }

  /**
   * Compares routes of all nodes, chosen at random, and all leases. Each repair is decided and made within one script, so
   * nothing can change in between.
   */
  async #sample(sample: number, findings: Findings): Promise<void> {
    const { gateway, options } = this.node;
    const { partitions } = gateway.keys;
    const count = Math.min(STRETCH, Math.ceil(sample / partitions.length));
    // Every heartbeat of every node reaps: a lease that is over for so long was forgotten.
    const graceMs = 2 * options.node.lease;
    const dead = new Set<string>();
    const mayRepair = findings.left > 0;
    for (const partition of this.#steadyPartitions()) {
      const request = { partition, count, repairs: findings.left, graceMs };
      const { compared, differences } = await gateway.run(reconcileScript, request);
      findings.checked += compared;
      for (const { kind, name, repaired } of differences) {
        if (kind === 'dead-lease') dead.add(name);
        else if (kind === 'half-lease') findings.add({ kind: 'dead-lease', nodeId: nodeIdOf(name) || name, repaired });
        else findings.add({ kind, connectionId: name, repaired });
      }
    }
    if (dead.size > 0 && mayRepair) await this.parts.expiry.reap();
    for (const inc of dead) {
      findings.add({ kind: 'dead-lease', nodeId: nodeIdOf(inc), repaired: mayRepair });
    }
  }
}

/** What a walk does on its way. */
interface Walk {
  /** Only one stretch of each partition, and the counts. */
  readonly quick?: true;
  /** Gives the routes a new time to live. */
  readonly renew?: true;
  readonly findings: Findings;
  /** Gets the differences of each page. Returns how many routes of this node it removed; `undefined` ends a quick walk. */
  onPage(differences: readonly Difference[]): Promise<number | undefined>;
}

/** Of a connection and its route; nothing when they agree. */
const KINDS: Readonly<Record<RouteState, InconsistencyKind | undefined>> = {
  mine: undefined,
  missing: 'missing-route',
  foreign: 'foreign-route',
  'other-token': 'wrong-token',
};

/** Whether the route or the entry of the index is too much, and not a connection without its route. */
function isSurplus({ kind }: Difference): boolean {
  return kind === 'ghost' || kind === 'index';
}

/** The routes that were compared were not those of this node any more. */
function lostLease(): SseError {
  return new SseError(
    'UNAVAILABLE',
    'a comparison needs the lease that it began with, and it was lost; the next comparison uses the new lease',
  );
}

// Hashing an id takes about a microsecond; the event loop runs other work after so many.
const SLICE = 5_000;

/** The registered connections of this node by the partition of their routes. */
async function byPartition({
  gateway: { keys },
  listener,
}: ClusterNode): Promise<ReadonlyMap<Partition, readonly Registered[]>> {
  const groups = new Map<Partition, Registered[]>(keys.partitions.map(each => [each, []]));
  // The connections change during the slices, so the list is copied first.
  const registered = [...listener.registered()];
  for (const [at, one] of registered.entries()) {
    if (at > 0 && at % SLICE === 0) await new Promise(resolve => setImmediate(resolve));
    groups.get(keys.partitionOf(one.connectionId))?.push(one);
  }
  return groups;
}
