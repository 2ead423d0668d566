import { isIP } from 'node:net';
import { MinuteCounts, NameCounts } from '../cluster/counts.js';
import type { RegistrationLimits, SharedLimit } from '../contracts/authorization.js';
import type { RegistrationResult } from '../contracts/cluster.js';
import type { Logger } from '../contracts/logger.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { idsOf } from '../protocol/names.js';

/** Who opens a connection, for the limits per client. */
interface Client {
  readonly user?: string | undefined;
  readonly address?: string | undefined;
}

/** A limit of the connections that share a name: those of a user, or from an address. */
interface Bound extends SharedLimit {
  /** Whether its connects and replays are those of the client: of the user, or of the address of a client without one. */
  readonly named: boolean;
}

const NONE: readonly Bound[] = [];
/** Begins the name of an address. The ids of users do not begin so. */
const ADDRESS = '@';

/**
 * What one user and one address may have. This node counts its own connections, which needs no cluster; the cluster counts
 * those of all nodes, with the same limits. Without limits it does nothing.
 */
export class ConnectionLimits {
  // Connections of this node by name, and the bounds that each counts for.
  readonly #counts = new NameCounts();
  readonly #bounds = new Map<LocalConnection, readonly Bound[]>();
  readonly #connects = new MinuteCounts();
  readonly #replayed = new MinuteCounts();
  readonly #isOff: boolean;

  constructor(private readonly limits: ResolvedSseOptions['limits']) {
    const { maxConnectionsPerUser, maxConnectionsPerAddress, maxConnectsPerMinute, maxReplayBytesPerMinute } = limits;
    const all = [maxConnectionsPerUser, maxConnectionsPerAddress, maxConnectsPerMinute, maxReplayBytesPerMinute];
    this.#isOff = all.every(limit => limit === false);
  }

  /**
   * A client wants to connect. Returns what its connection will count for.
   * @param resumes whether it will be given what it missed
   * @throws SseError `RATE_LIMITED`
   */
  arrive(client: Client, resumes: boolean): readonly Bound[] {
    const { maxConnectsPerMinute, maxReplayBytesPerMinute } = this.limits;
    const bounds = this.#boundsOf(client);
    const name = nameIn(bounds);
    if (name === undefined) return bounds;
    if (maxReplayBytesPerMinute !== false && resumes && this.#replayed.of(name) >= maxReplayBytesPerMinute) {
      throw tooOften('maxReplayBytesPerMinute', maxReplayBytesPerMinute, 'bytes were replayed to this client');
    }
    if (maxConnectsPerMinute === false) return bounds;
    if (this.#connects.of(name) >= maxConnectsPerMinute) throw tooManyConnects(maxConnectsPerMinute);
    this.#connects.add(name, 1);
    return bounds;
  }

  /**
   * Whether one more connection is within its limits. To be followed by {@link enter} in the same turn.
   * @param bounds as {@link arrive} returned them
   * @param former the connection that it takes over, which makes room where it counts for the same name
   * @throws SseError `CONNECTION_LIMIT`
   */
  assertRoom(bounds: readonly Bound[], former: LocalConnection | undefined): void {
    const freed = former === undefined ? NONE : (this.#bounds.get(former) ?? NONE);
    for (const { name, most } of bounds) {
      if (most === undefined || this.#counts.of(name) < most) continue;
      if (!freed.some(each => each.name === name)) throw this.refusal({ outcome: 'full', name });
    }
  }

  /** A connection counts from now on, until {@link leave}. */
  enter(connection: LocalConnection, bounds: readonly Bound[]): void {
    if (bounds.length === 0) return;
    this.#counts.add(bounds);
    this.#bounds.set(connection, bounds);
  }

  /** The limits of a connection, for the cluster. */
  shared(connection: LocalConnection): RegistrationLimits {
    const { maxClusterConnections: maxConnections } = this.limits;
    const limits = this.#bounds.get(connection)?.filter(({ most, perMinute }) => (most ?? perMinute) !== undefined);
    return { limits, maxConnections: maxConnections === false ? undefined : maxConnections };
  }

  /** Why the cluster refused a registration. */
  refusal({ outcome, name }: Extract<RegistrationResult, { outcome: 'full' | 'rate-limited' }>): SseError {
    const { maxClusterConnections, maxConnectionsPerAddress, maxConnectionsPerUser, maxConnectsPerMinute } =
      this.limits;
    if (outcome === 'rate-limited') return tooManyConnects(maxConnectsPerMinute);
    if (name === undefined) return full('the cluster', maxClusterConnections, 'maxClusterConnections');
    return name.startsWith(ADDRESS)
      ? full('this address', maxConnectionsPerAddress, 'maxConnectionsPerAddress')
      : full('this user', maxConnectionsPerUser, 'maxConnectionsPerUser');
  }

  leave(connection: LocalConnection): void {
    const bounds = this.#bounds.get(connection);
    if (bounds === undefined) return;
    this.#bounds.delete(connection);
    this.#counts.remove(bounds);
  }

  /** Entries that a client missed, of so many bytes, were written. */
  replayed(connection: LocalConnection, bytes: number): void {
    if (this.limits.maxReplayBytesPerMinute === false) return;
    const name = nameIn(this.#bounds.get(connection) ?? NONE);
    if (name !== undefined) this.#replayed.add(name, bytes);
  }

  #boundsOf({ user, address }: Client): readonly Bound[] {
    if (this.#isOff || (user === undefined && address === undefined)) return NONE;
    const { maxConnectionsPerUser: perUser, maxConnectionsPerAddress: perAddress } = this.limits;
    const bounds: Bound[] = [];
    if (user !== undefined) bounds.push(this.#bound(idsOf(user), perUser, true));
    if (address !== undefined && (user === undefined || perAddress !== false)) {
      bounds.push(this.#bound(ADDRESS + networkOf(address), perAddress, user === undefined));
    }
    return bounds;
  }

  #bound(name: string, most: number | false, named: boolean): Bound {
    const perMinute = named ? this.limits.maxConnectsPerMinute : false;
    return { name, named, ...(most !== false && { most }), ...(perMinute !== false && { perMinute }) };
  }
}

/** Whose connects and replays are counted together. */
function nameIn(bounds: readonly Bound[]): string | undefined {
  return bounds.find(({ named }) => named)?.name;
}

function tooOften(name: string, limit: number | false, what: string): SseError {
  const setting = `limits.${name}`;
  return new SseError('RATE_LIMITED', `${limit} ${what} within a minute (${setting}); connect again later`, {
    limit: setting,
  });
}

function tooManyConnects(limit: number | false): SseError {
  return tooOften('maxConnectsPerMinute', limit, 'connects of this client were accepted');
}

function full(what: string, limit: number | false, name: string): SseError {
  const setting = `limits.${name}`;
  const rule = `${what} has ${limit} connections (${setting}); close one, or connect again later`;
  return new SseError('CONNECTION_LIMIT', rule, { limit: setting });
}

/**
 * The network of an address: the address itself for IPv4, also where it is written as IPv6; the first 64 bits for IPv6, all
 * of which one subscriber has. Text that is no address is one network, since clients may have made it up.
 */
export function networkOf(address: string): string {
  const [plain = ''] = address.split('%');
  const v4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1] ?? plain;
  if (isIP(v4) === 4) return v4;
  if (isIP(plain) !== 6) return 'none';
  // The form of URLs is the short one of RFC 5952, with hexadecimal groups only.
  const short = new URL(`http://[${plain}]`).hostname.slice(1, -1);
  const [head = '', tail] = short.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return [...before, ...zeros, ...after].slice(0, 4).join(':');
}

/** Takeovers of one id in a row that are no coincidence. */
const EVICTIONS = 3;
/** Milliseconds after which a takeover begins a new row. */
const ROW_MS = 60_000;
/** Connection ids that are remembered at once. */
const MOST_IDS = 1_000;

interface Row {
  count: number;
  at: number;
  logged: boolean;
}

/** Finds clients that take one connection id from each other, as two tabs with one id do, and logs each id once. */
export class Evictions {
  /** By connection id, the longest quiet first. */
  readonly #rows = new Map<string, Row>();

  constructor(private readonly logger: Logger) {}

  /** A connection of this node was taken over. */
  superseded(connectionId: string): void {
    const row = this.#rowOf(connectionId);
    row.count += 1;
    if (row.count >= EVICTIONS) this.#log(connectionId, row);
  }

  /** A takeover was one too many. */
  refused(connectionId: string): void {
    this.#log(connectionId, this.#rowOf(connectionId));
  }

  #rowOf(connectionId: string): Row {
    const now = performance.now();
    const former = this.#rows.get(connectionId);
    const row = former !== undefined && now - former.at < ROW_MS ? former : { count: 0, at: now, logged: false };
    row.at = now;
    this.#rows.delete(connectionId);
    this.#rows.set(connectionId, row);
    const [oldest] = this.#rows.keys();
    if (this.#rows.size > MOST_IDS && oldest !== undefined) this.#rows.delete(oldest);
    return row;
  }

  #log(connectionId: string, row: Row): void {
    if (row.logged) return;
    row.logged = true;
    this.logger.warn(
      'clients take one connection id from each other; give each tab and each device an id of its own, or let the library choose one',
      { connectionId },
    );
  }
}
