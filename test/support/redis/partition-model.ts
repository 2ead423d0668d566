import type { RegisterRequest } from '../../../src/cluster/redis/scripts.js';
import { LEASE_MS, TTL_MS } from './bench-node.js';
import type { PartitionState } from './script-bench.js';

interface ModelLease {
  readonly inc: string;
  readonly until: number;
}

interface ModelRoute {
  readonly gen: number;
  readonly inc: string;
  readonly tok: string;
  readonly fencingToken: number;
  readonly exp: number;
  readonly prevs: readonly string[];
  /** As stored: a time, with `l` in front for a page load. */
  readonly takeovers: readonly string[];
  readonly user: string;
}

/** Takeovers that the model's registrations allow. */
export const LIMIT = { takeoverLimit: 2, takeoverWindow: 20_000 };

/**
 * What one partition must hold and answer, written down from the design and not from the scripts: leases by generation,
 * routes by connection id. The tests compare all of it after every command.
 */
export class PartitionModel {
  #epoch: string | undefined;
  #lastGen = 0;
  readonly #current = new Map<string, number>();
  readonly leases = new Map<number, ModelLease>();
  readonly routes = new Map<string, ModelRoute>();
  readonly #givenUp = new Set<string>();
  #expired = false;
  /** Until when routes that a node knows of may be missing. */
  #partialUntil = 0;
  #notifications: Record<string, readonly unknown[]> = {};

  lease(inc: string, newEpoch: string, believed: { gen: string; epoch: string } | undefined, now: number) {
    if (this.#epoch === undefined) {
      this.#epoch = newEpoch;
      this.#lastGen = Math.floor(now / 1000) % 1_000_000;
    }
    let gen = this.#current.get(inc);
    if (gen === undefined) {
      this.#lastGen += 1;
      gen = this.#lastGen;
      this.#current.set(inc, gen);
    }
    this.leases.set(gen, { inc, until: now + LEASE_MS });
    const same = believed?.gen === String(gen) && believed.epoch === this.#epoch;
    if (believed !== undefined && believed.epoch !== this.#epoch) this.#partialUntil = now + LEASE_MS;
    const owned = this.ownedBy(gen).length;
    const lease = { gen: String(gen), epoch: this.#epoch };
    const routes = this.routes.size;
    return { status: same ? 'RENEWED' : 'OPENED', lease, owned, nowMicros: now * 1_000, full: false, routes };
  }

  holds(inc: string, gen: string): boolean {
    return this.#current.has(inc) && String(this.#current.get(inc)) === gen;
  }

  /**
   * @param own the connection's own fencing token, in mode `restore`
   * @param heard whether the other nodes hear of takeovers
   */
  register(
    inc: string,
    gen: string,
    conn: string,
    tok: string,
    user: string | undefined,
    mode: RegisterRequest['mode'],
    own: number | undefined,
    heard: boolean,
    now: number,
  ) {
    if (!this.holds(inc, gen)) return { status: 'LOST' };
    const token = own ?? now * 1000;
    if (this.#givenUp.has(`${inc}/${tok}`)) {
      return { status: 'GONE', fencingToken: 0, ownerInc: '', ownerTok: '', now };
    }
    const old = this.routes.get(conn);
    const lease = this.leases.get(Number(gen));
    const mine = { gen: Number(gen), inc, tok, user: user ?? '', exp: now + TTL_MS };
    if (old === undefined) {
      this.routes.set(conn, { ...mine, fencingToken: token, prevs: [], takeovers: [] });
      this.#extend(mine, lease, now);
      return { status: 'NEW', fencingToken: token, ownerInc: '', ownerTok: '', now };
    }
    const owner = this.leases.get(old.gen)?.inc ?? '';
    const named = { ownerInc: owner, ownerTok: old.tok, now };
    const same = owner === inc && old.tok === tok;
    if (same && old.gen === mine.gen) {
      this.routes.set(conn, { ...old, user: mine.user, exp: mine.exp });
      this.#extend(mine, lease, now);
      return { status: 'DUP', fencingToken: old.fencingToken, ownerInc: '', ownerTok: '', now };
    }
    const refused = (status: string) => ({ status, fencingToken: old.fencingToken, ...named });
    // Where a restored connection is newer than the route, the route is older data.
    const newer = mode === 'restore' && token > old.fencingToken;
    if (!same && !newer && old.prevs.includes(`${inc}/${tok}`)) return refused('STALE');
    const live = this.isLive(conn, now) && !same;
    if (live && mode === 'nx') return refused('EXISTS');
    if (live && mode === 'restore' && !newer) return refused('MOVED');
    const recent = old.takeovers.filter(at => now - Number(at.replace('l', '')) < LIMIT.takeoverWindow);
    const isTakeover = live && (heard || owner === inc) && (mode === 'take' || mode === 'load');
    const mark = mode === 'load' ? 'l' : '';
    const counted = recent.filter(at => at.startsWith('l') === (mark === 'l')).length;
    if (isTakeover && counted >= LIMIT.takeoverLimit) return refused('STORM');
    const fencingToken = newer ? token : Math.max(token, old.fencingToken + 1);
    const prevs = same ? old.prevs : [`${owner || '?'}/${old.tok}`, ...old.prevs].slice(0, 3);
    this.routes.set(conn, {
      ...mine,
      fencingToken,
      prevs,
      takeovers: isTakeover ? [...recent, `${mark}${now}`] : recent,
    });
    this.#extend(mine, lease, now);
    if (same) return { status: 'NEW', fencingToken, ownerInc: '', ownerTok: '', now };
    // A node that may still have the connection is notified, also when its lease or its route ran out.
    if (owner !== '') {
      this.#notifications = {
        [owner]: [{ v: 1, t: 'superseded', c: conn, k: old.tok, f: String(fencingToken) }],
      };
    }
    return { status: live ? 'TOOK' : 'NEW', fencingToken, ...named };
  }

  /** The notifications of the last registration, by incarnation. */
  takeNotifications(): Readonly<Record<string, unknown>> {
    const notifications = this.#notifications;
    this.#notifications = {};
    return notifications;
  }

  unregister(inc: string, conn: string, tok: string, ambiguous: boolean): string {
    if (ambiguous) this.#givenUp.add(`${inc}/${tok}`);
    const route = this.routes.get(conn);
    if (route === undefined) return 'NONE';
    if (route.tok !== tok || this.leases.get(route.gen)?.inc !== inc) return 'FOREIGN';
    this.routes.delete(conn);
    return 'REMOVED';
  }

  refresh(inc: string, gen: string, pairs: readonly { conn: string; tok: string }[], ttlMs: number, now: number) {
    if (!this.holds(inc, gen)) return { status: 'LOST' };
    const states = pairs.map(({ conn, tok }) => {
      const route = this.routes.get(conn);
      if (route === undefined) return 'missing';
      if (String(route.gen) !== gen) return 'foreign';
      if (route.tok !== tok) return 'other-token';
      if (ttlMs > 0) this.routes.set(conn, { ...route, exp: now + ttlMs });
      return 'mine';
    });
    if (ttlMs > 0) this.leases.set(Number(gen), { inc, until: now + LEASE_MS });
    return { status: 'OK', now, states };
  }

  /** Generations that may be reaped, in any order. */
  reapable(now: number): number[] {
    return [...this.leases].flatMap(([gen, { until }]) => (until <= now ? [gen] : []));
  }

  /** The generation that a node may release. */
  releasable(inc: string): number[] {
    const gen = this.#current.get(inc);
    return gen === undefined ? [] : [gen];
  }

  reap(gen: number, limit: number, release: boolean) {
    const inc = this.leases.get(gen)?.inc ?? '';
    if (!release && this.#current.get(inc) === gen) this.#current.delete(inc);
    const conns = this.ownedBy(gen).slice(0, limit);
    const removed = conns.map(conn => ({ conn, tok: this.routes.get(conn)?.tok ?? '' }));
    for (const conn of conns) this.routes.delete(conn);
    const done = conns.length < limit;
    if (done) this.leases.delete(gen);
    if (done && release) this.#current.delete(inc);
    return { status: done ? 'DONE' : 'MORE', inc, gen: String(gen), removed };
  }

  expire(now: number): string[] {
    const gone = [...this.routes].flatMap(([conn, { gen, exp }]) =>
      exp <= now || !this.leases.has(gen) ? [conn] : [],
    );
    for (const conn of gone) this.routes.delete(conn);
    this.#expired ||= this.#epoch !== undefined;
    return gone.sort();
  }

  lose(): void {
    this.loseLeases();
    this.routes.clear();
  }

  /** Only the leases are evicted: routes stay without an owner. */
  loseLeases(): void {
    this.#epoch = undefined;
    this.#current.clear();
    this.leases.clear();
    this.#expired = false;
    this.#partialUntil = 0;
  }

  count(now: number) {
    const live = [...this.leases].filter(([, { until }]) => until > now);
    const nodes = live.map(([gen, { inc }]) => ({ inc, routes: this.ownedBy(gen).length }));
    return {
      status: 'OK',
      live: nodes.reduce((sum, { routes }) => sum + routes, 0),
      total: this.routes.size,
      nodes: nodes.sort((x, y) => x.inc.localeCompare(y.inc)),
    };
  }

  send(conn: string, epoch: string, now: number) {
    const route = this.routes.get(conn);
    const lease = route && this.leases.get(route.gen);
    if (route === undefined || lease === undefined) return { status: this.isPartial(epoch, now) ? 'PARTIAL' : 'NONE' };
    const { tok, fencingToken } = route;
    return { status: 'ROUTED', inc: lease.inc, tok, fencingToken };
  }

  /** Whether no route may mean a lost one, to a node that believes in this epoch. */
  isPartial(epoch: string, now: number): boolean {
    return epoch !== this.#epoch || this.#partialUntil > now;
  }

  isLive(conn: string, now: number): boolean {
    const route = this.routes.get(conn);
    const lease = route && this.leases.get(route.gen);
    return route !== undefined && lease !== undefined && lease.until > now && route.exp > now;
  }

  /** Connection ids by generation, in the order of the index. */
  ownedBy(gen: number): string[] {
    return [...this.routes].flatMap(([conn, route]) => (route.gen === gen ? [conn] : [])).sort();
  }

  /** All of it as Redis must hold it. */
  state(schema: string): PartitionState {
    const leases: Record<string, string> = {};
    for (const [inc, gen] of this.#current) leases[`i:${inc}`] = String(gen);
    for (const [gen, { inc, until }] of this.leases) leases[`g:${gen}`] = `${until}|${inc}`;
    if (this.#epoch !== undefined) {
      leases['#gen'] = String(this.#lastGen);
      leases['#ep'] = this.#epoch;
      leases['#v'] = schema;
    }
    if (this.#expired) leases['#cur'] = '0';
    if (this.#partialUntil > 0) leases['#lost'] = String(this.#partialUntil);
    const routes: Record<string, string> = {};
    const index: Record<string, string> = {};
    for (const [conn, { gen, tok, fencingToken, exp, user, ...past }] of this.routes) {
      const { prevs, takeovers } = past;
      const more = prevs.length === 0 && user === '' ? [] : [prevs.join(), takeovers.join()];
      routes[conn] = [gen, tok, fencingToken, exp, ...more, ...(user === '' ? [] : [user])].join('|');
      index[conn] = String(gen);
    }
    return { leases, routes, index };
  }

  #extend({ gen, inc }: { gen: number; inc: string }, lease: ModelLease | undefined, now: number): void {
    if ((lease?.until ?? 0) < now + LEASE_MS / 2) this.leases.set(gen, { inc, until: now + LEASE_MS });
  }
}
