import { isIP } from 'node:net';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';

/** Who opens a connection, for the limits per client. */
export interface Client {
  readonly user?: string | undefined;
  readonly address?: string | undefined;
}

/** A limit of the connections that share a name. */
interface Bound {
  /** `u` and the user, or `a` and the address. */
  readonly name: string;
  readonly limit: number;
  /** The path of its setting. */
  readonly setting: string;
}

const NONE: readonly Bound[] = [];

/** What one user and one address may take of this node. Needs no cluster. Without limits it does nothing. */
export class ConnectionLimits {
  // Connections of this node by name, and the names that each counts for.
  readonly #counts = new Map<string, number>();
  readonly #bounds = new Map<LocalConnection, readonly Bound[]>();
  readonly #connects = new MinuteCounts();
  readonly #replayed = new MinuteCounts();
  // By connection, where the bytes of its replay are counted.
  readonly #replaying = new WeakMap<LocalConnection, string>();

  constructor(private readonly limits: ResolvedSseOptions['limits']) {}

  /**
   * A client wants to connect.
   * @param resumes whether it will be given what it missed
   * @throws SseError `RATE_LIMITED`
   */
  arrive(client: Client, resumes: boolean): void {
    const { maxConnectsPerMinute, maxReplayBytesPerMinute } = this.limits;
    const name = nameOf(client);
    if (name === undefined) return;
    if (maxReplayBytesPerMinute !== false && resumes && this.#replayed.of(name) >= maxReplayBytesPerMinute) {
      throw tooOften('maxReplayBytesPerMinute', maxReplayBytesPerMinute, 'bytes were replayed to this client');
    }
    if (maxConnectsPerMinute === false) return;
    if (this.#connects.of(name) >= maxConnectsPerMinute) {
      throw tooOften('maxConnectsPerMinute', maxConnectsPerMinute, 'connects of this client were accepted');
    }
    this.#connects.add(name, 1);
  }

  /**
   * Whether one more connection of a client is within its limits. To be followed by {@link enter} in the same turn.
   * @param former the connection that it takes over, which makes room where it counts for the same name
   * @throws SseError `CONNECTION_LIMIT`
   */
  assertRoom(client: Client, former: LocalConnection | undefined): void {
    const freed = former === undefined ? NONE : (this.#bounds.get(former) ?? NONE);
    for (const { name, limit, setting } of this.#boundsOf(client)) {
      if ((this.#counts.get(name) ?? 0) < limit || freed.some(each => each.name === name)) continue;
      throw new SseError(
        'CONNECTION_LIMIT',
        `this client has ${limit} connections (${setting}); close one, or connect again later`,
        { limit: setting },
      );
    }
  }

  /** A connection counts from now on, until {@link leave}. */
  enter(connection: LocalConnection, client: Client): void {
    const bounds = this.#boundsOf(client);
    for (const { name } of bounds) this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    if (bounds.length > 0) this.#bounds.set(connection, bounds);
    const name = this.limits.maxReplayBytesPerMinute === false ? undefined : nameOf(client);
    if (name !== undefined) this.#replaying.set(connection, name);
  }

  leave(connection: LocalConnection): void {
    const bounds = this.#bounds.get(connection);
    if (bounds === undefined) return;
    this.#bounds.delete(connection);
    for (const { name } of bounds) {
      const left = (this.#counts.get(name) ?? 0) - 1;
      if (left > 0) this.#counts.set(name, left);
      else this.#counts.delete(name);
    }
  }

  /** Entries that a client missed, of so many bytes, were written. */
  replayed(connection: LocalConnection, bytes: number): void {
    const name = this.#replaying.get(connection);
    if (name !== undefined) this.#replayed.add(name, bytes);
  }

  #boundsOf({ user, address }: Client): readonly Bound[] {
    const { maxConnectionsPerUser: perUser, maxConnectionsPerAddress: perAddress } = this.limits;
    if (perUser === false && perAddress === false) return NONE;
    const bounds: Bound[] = [];
    if (perUser !== false && user !== undefined) {
      bounds.push({ name: `u${user}`, limit: perUser, setting: 'limits.maxConnectionsPerUser' });
    }
    if (perAddress !== false && address !== undefined) {
      const name = `a${networkOf(address)}`;
      bounds.push({ name, limit: perAddress, setting: 'limits.maxConnectionsPerAddress' });
    }
    return bounds;
  }
}

/** Whose connects and replays are counted together. */
function nameOf({ user, address }: Client): string | undefined {
  if (user !== undefined) return `u${user}`;
  return address === undefined ? undefined : `a${networkOf(address)}`;
}

function tooOften(name: string, limit: number, what: string): SseError {
  const setting = `limits.${name}`;
  return new SseError('RATE_LIMITED', `${limit} ${what} within a minute (${setting}); connect again later`, {
    limit: setting,
  });
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

/** Names that are counted at once. Beyond it further ones are not: an attack must not take the memory of the node. */
const MOST_NAMES = 100_000;
const MINUTE_MS = 60_000;

/** How much of something each name had within the last minute, about: the minute before counts by the part that is left of it. */
class MinuteCounts {
  #present = new Map<string, number>();
  #former = new Map<string, number>();
  #since = performance.now();

  of(name: string): number {
    const left = 1 - this.#turn() / MINUTE_MS;
    return (this.#present.get(name) ?? 0) + (this.#former.get(name) ?? 0) * left;
  }

  add(name: string, amount: number): void {
    this.#turn();
    const former = this.#present.get(name);
    if (former !== undefined || this.#present.size < MOST_NAMES) this.#present.set(name, (former ?? 0) + amount);
  }

  /** Begins a new minute where one is over. Returns the milliseconds since the present one began. */
  #turn(): number {
    const elapsed = performance.now() - this.#since;
    if (elapsed < MINUTE_MS) return elapsed;
    this.#former = elapsed < 2 * MINUTE_MS ? this.#present : new Map<string, number>();
    this.#present = new Map();
    this.#since += Math.floor(elapsed / MINUTE_MS) * MINUTE_MS;
    return elapsed % MINUTE_MS;
  }
}
