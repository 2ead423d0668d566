import { createHash, randomBytes } from 'node:crypto';
import { isEnded } from '../connection/end.js';
import type {
  Admission,
  AuthorizedClient,
  Authorizer,
  Revocation,
  RevocationOptions,
  RevocationSelector,
  SseGuard,
  SseRequest,
} from '../contracts/authorization.js';
import type { Locks, RememberedTopic } from '../contracts/cluster.js';
import type { CloseReceipt, Cursor } from '../contracts/events.js';
import type { SseService, Tickets } from '../contracts/service.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import { ADMISSION_MS, checkArguments, MAX_TICKET_MS } from '../options/arguments.js';
import { ANY_LOG } from '../protocol/cursor.js';
import { checkConnectionId, checkReason, checkTopic, checkUser, idsOf, isForUser } from '../protocol/names.js';
import { Periodic, withTimeout } from '../time.js';
import type { SseNode } from './node.js';

/** Milliseconds between two looks at what runs out, and over which the ends at one time are spread. */
const LOOK_MS = 1_000;
const SPREAD_MS = 3_000;
/** Connections about which the authorizer is asked at once. */
const ASKED_AT_ONCE = 100;

/** The topics that a connection may follow, each with the position after which it may; `undefined`: from its beginning. */
export type Grants = ReadonlyMap<string, Cursor | undefined>;

/** A connection that ends by itself, or about which the authorizer is asked again. Both by the monotonic clock. */
interface Stay {
  readonly until: number;
  askAt: number;
}

/** Who may follow which topic, and stay: what guards allowed, narrowed by the {@link Authorizer}. */
export class Authorization {
  readonly #allowed = new WeakMap<LocalConnection, ReadonlySet<string>>();
  readonly #stays = new Map<LocalConnection, Stay>();
  readonly #looking = new Periodic(() => this.#look(), { everyMs: LOOK_MS });
  #asked = 0;

  /** Left out where it grants everything. */
  readonly #authorizer: Authorizer | undefined;
  /** Milliseconds between two questions about a connection. */
  readonly #askEvery: number;

  constructor(
    private readonly node: SseNode,
    authorizer: Authorizer = GUARDS_DECIDE,
  ) {
    this.#authorizer = authorizer === GUARDS_DECIDE ? undefined : authorizer;
    const { recheck } = node.options.guards;
    this.#askEvery = recheck === false || this.#authorizer?.stillAllowed === undefined ? Infinity : recheck;
  }

  /** To be called for a connection before it opens. @throws SseError `FORBIDDEN` when its time is over */
  begin(connection: LocalConnection, expiresAt: Date | undefined, allowed: readonly string[] | undefined): void {
    if (allowed !== undefined) this.#allowed.set(connection, new Set(allowed));
    if (expiresAt === undefined && this.#askEvery === Infinity) return;
    const now = performance.now();
    const left = expiresAt === undefined ? Infinity : expiresAt.getTime() - Date.now();
    if (left <= 0) {
      throw new SseError('FORBIDDEN', 'the credentials of this client have run out; connect with new ones', {
        status: 401,
      });
    }
    const askAt = now + this.#askEvery * (0.5 + Math.random());
    this.#stays.set(connection, { until: now + left + Math.random() * SPREAD_MS, askAt });
    this.#looking.start();
  }

  /** Whether a connection may not follow every topic from its beginning. */
  limits(connection: LocalConnection): boolean {
    return this.#authorizer !== undefined || this.#allowed.has(connection);
  }

  /** Those of the topics that a connection may follow. @throws SseError `UNAVAILABLE`, and what the authorizer throws */
  async grantsOf(connection: LocalConnection, topics: readonly string[]): Promise<Grants> {
    const allowed = this.#allowed.get(connection);
    const open = allowed === undefined ? topics : topics.filter(topic => allowed.has(topic));
    if (this.#authorizer === undefined || open.length === 0) return new Map(open.map(topic => [topic, undefined]));
    const answer = Promise.resolve(this.#authorizer.grant(clientOf(connection), open));
    const grants = new Map<string, Cursor | undefined>();
    for (const { topic, since } of await this.#inTime(answer)) {
      // A grant of another topic, or one that has not begun, grants nothing.
      if (open.includes(topic) && (since === undefined || since.getTime() <= Date.now())) {
        grants.set(topic, since && positionOf(since));
      }
    }
    return grants;
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    const { timeout } = this.node.options.guards;
    return withTimeout(answer, timeout, () => {
      throw new SseError(
        'UNAVAILABLE',
        `an authorizer must answer within ${timeout} ms (guards.timeout); try again later`,
      );
    });
  }

  #look(): void {
    const now = performance.now();
    for (const [connection, stay] of this.#stays) {
      if (isEnded(connection.state)) this.#stays.delete(connection);
      else if (stay.until <= now) connection.close('expired');
      else if (stay.askAt <= now && this.#asked < ASKED_AT_ONCE) void this.#ask(connection, stay, now);
    }
    if (this.#stays.size === 0) this.#looking.stop();
  }

  async #ask(connection: LocalConnection, stay: Stay, now: number): Promise<void> {
    stay.askAt = now + this.#askEvery;
    this.#asked += 1;
    try {
      const answer = Promise.resolve(this.#authorizer?.stillAllowed?.(clientOf(connection)));
      if ((await this.#inTime(answer)) === false) connection.close('revoked');
    } catch (error) {
      const facts = { connectionId: connection.id, error };
      this.node.logger.warn('an authorizer could not say whether a client may stay; the client stays', facts);
    } finally {
      this.#asked -= 1;
    }
  }
}

/** The position before the first entry of a time, in any log. */
function positionOf(since: Date): Cursor {
  return { epoch: ANY_LOG, ms: since.getTime() - 1, sequence: Number.MAX_SAFE_INTEGER };
}

function clientOf({ id: connectionId, user }: LocalConnection): AuthorizedClient {
  return user === undefined ? { connectionId } : { connectionId, user };
}

/** The default: what guards allow. */
export const GUARDS_DECIDE: Authorizer = { grant: (_client, topics) => topics.map(topic => ({ topic })) };

const REVOCATION_MS = 86_400_000;
/** Revocations that a node remembers, and that wait for the cluster. */
const MOST = 100_000;
const MOST_TOPICS = 256;
const RETRY_MS = 1_000;
/** Milliseconds that the clocks of this node and the cluster may differ. */
const CLOCK_SLACK_MS = 2_000;

/** A revocation as this node remembers it, with its time by the monotonic clock and by the wall clock. */
interface Remembered {
  readonly id: string;
  readonly at: number;
  readonly wallMs: number;
  readonly until: number;
  readonly topics: readonly string[];
}

interface Unmarked {
  /** By the monotonic clock. */
  readonly at: number;
  readonly trace: string | undefined;
}

/**
 * Revocations: carried out on this node at once, on the others by the cluster. They are remembered here for a while, for
 * clients that were admitted before and whose connections are not stored yet, and for subscriptions that are remembered.
 */
export class Revocations {
  /** By target, the oldest first. */
  readonly #remembered = new Map<string, Remembered[]>();
  /** Those of which the cluster keeps no mark. */
  readonly #unmarked = new Map<Omit<Revocation, 'age'>, Unmarked>();
  readonly #marking: Periodic;

  constructor(
    private readonly node: SseNode,
    private readonly unsubscribe: (connection: LocalConnection, topic: string) => Promise<unknown>,
  ) {
    this.#marking = new Periodic(() => this.#mark(), { everyMs: RETRY_MS, jitter: 0.3 });
  }

  /** Never rejects because of the cluster. @throws SseError */
  async revoke(selector: RevocationSelector, options: RevocationOptions): Promise<CloseReceipt> {
    const { reason = 'revoked', cut = false, ttl = REVOCATION_MS } = options;
    checkReason(reason);
    const id = randomBytes(12).toString('base64url');
    const revocation = { id, ...targetOf(selector), reason, cut, ttl };
    const at = performance.now();
    const closed = this.carryOut({ ...revocation, age: 0 });
    const trace = this.node.telemetry.connections.cause();
    const others = await this.node.cluster.messenger.revoke({ ...revocation, age: performance.now() - at }, trace);
    if (others.unavailable !== undefined) this.#markLater(revocation, { at, trace });
    const receipt = { ...others, closed: closed + others.closed };
    const { connectionId, user, topics } = selector;
    const facts = { connectionId, user, topics, reason, cut };
    this.node.audit.record({ kind: 'revoke', ...facts, closed: receipt.closed, missing: receipt.missing });
    return receipt;
  }

  /** Carries a revocation out on this node. Returns how many streams ended, or lost a topic. */
  carryOut({ id, target, topics, reason, cut, ttl, age }: Revocation): number {
    const kept = topics.length === 0 ? ADMISSION_MS : ttl;
    const at = this.#remember(target, { id, age, kept, topics });
    const concerned: LocalConnection[] = [];
    for (const connection of this.node.store.connections()) {
      const { id: own, openedAt } = connection;
      if ((isForUser(target) ? own.startsWith(target) : own === target) && openedAt <= at) concerned.push(connection);
    }
    if (topics.length > 0) return concerned.filter(connection => this.#narrow(connection, topics)).length;
    for (const connection of concerned) {
      if (cut) connection.cut(reason);
      else connection.close(reason);
    }
    return concerned.length;
  }

  /**
   * To be called for a client before its connection is stored, and once it follows topics.
   * @throws SseError `FORBIDDEN` when the connection, or a topic, was revoked after the client was admitted
   */
  assertHolds(connectionId: string, topics: Iterable<string>, admittedAt: number): void {
    if (this.#remembered.size === 0) return;
    const later = this.#of(connectionId).filter(({ at }) => at >= admittedAt);
    if (later.length === 0) return;
    const isGone = later.some(revoked => revoked.topics.length === 0);
    if (isGone || later.some(revoked => [...topics].some(topic => revoked.topics.includes(topic))))
      throw revokedError();
  }

  /** Whether a subscription that the cluster remembers was revoked since. */
  isRevoked(connectionId: string, topic: string, remembered: RememberedTopic): boolean {
    if (this.#remembered.size === 0) return false;
    const since = remembered.kind === 'followed' ? (remembered.since?.ms ?? 0) : 0;
    return this.#of(connectionId).some(
      ({ topics, wallMs }) => topics.includes(topic) && since <= wallMs + CLOCK_SLACK_MS,
    );
  }

  #narrow(connection: LocalConnection, topics: readonly string[]): boolean {
    const followed = topics.filter(topic => connection.topics.has(topic));
    for (const topic of followed) {
      this.unsubscribe(connection, topic).catch((error: unknown) => {
        this.node.logger.warn('a revoked topic could not be forgotten', { connectionId: connection.id, topic, error });
      });
    }
    return followed.length > 0;
  }

  #of(connectionId: string): readonly Remembered[] {
    const now = performance.now();
    const user = connectionId.slice(0, connectionId.indexOf('/') + 1);
    const found = [connectionId, user].flatMap(target => this.#remembered.get(target) ?? []);
    return found.filter(({ until }) => until > now);
  }

  /** Returns the time of the revocation: where it was carried out before, not a later one. */
  #remember(
    target: string,
    { id, age, kept, topics }: Pick<Revocation, 'id' | 'age' | 'topics'> & { kept: number },
  ): number {
    const now = performance.now();
    const before = (this.#remembered.get(target) ?? []).filter(({ until }) => until > now);
    const known = before.find(revoked => revoked.id === id);
    const at = Math.min(known?.at ?? Infinity, now - age);
    const others = before.filter(revoked => revoked !== known).slice(1 - MOST_TOPICS);
    this.#remembered.delete(target);
    this.#remembered.set(target, [...others, { id, at, wallMs: Date.now() - now + at, until: at + kept, topics }]);
    for (const [old, all] of this.#remembered) {
      if (this.#remembered.size <= MOST && all.some(({ until }) => until > now)) break;
      this.#remembered.delete(old);
    }
    return at;
  }

  #markLater(revocation: Omit<Revocation, 'age'>, unmarked: Unmarked): void {
    const [oldest] = this.#unmarked.keys();
    if (this.#unmarked.size >= MOST && oldest !== undefined) this.#unmarked.delete(oldest);
    this.#unmarked.set(revocation, unmarked);
    this.#marking.start();
  }

  /** Passes on what the cluster does not know, until it cannot be reached again. */
  async #mark(): Promise<void> {
    if (this.node.closed) {
      const count = this.#unmarked.size;
      this.node.logger.error('the cluster does not know of revocations of this node; revoke again on another', {
        count,
      });
      this.#unmarked.clear();
    }
    for (const [revocation, { at, trace }] of this.#unmarked) {
      const age = performance.now() - at;
      if (age < revocation.ttl) {
        const { unavailable } = await this.node.cluster.messenger.revoke({ ...revocation, age }, trace);
        if (unavailable !== undefined) return;
      }
      this.#unmarked.delete(revocation);
    }
    this.#marking.stop();
  }
}

/** @throws SseError `INVALID_USER`, `INVALID_CONNECTION_ID`, `INVALID_TOPIC` */
function targetOf({ user, connectionId, topics = [] }: RevocationSelector): Pick<Revocation, 'target' | 'topics'> {
  for (const topic of topics) checkTopic(topic);
  if (topics.length > MOST_TOPICS) {
    throw new SseError('INVALID_TOPIC', `a revocation names at most ${MOST_TOPICS} topics, got ${topics.length}`);
  }
  if (user === undefined) {
    checkConnectionId(connectionId);
    return { target: connectionId, topics };
  }
  checkUser(user);
  return { target: idsOf(user), topics };
}

function revokedError(): SseError {
  return new SseError('FORBIDDEN', 'the rights of this client were revoked while it connected; connect with new ones');
}

/** Bytes of what a ticket stands for, as JSON. */
const MAX_TICKET_BYTES = 16_384;
const TICKET_MS = 30_000;
const TICKET = /^[\w-]{43}$/;

/**
 * Tickets for clients that cannot send headers: each stands for an admission, for one connect. The cluster knows a ticket by its
 * digest alone, as two locks: one names the admission, and the other belongs to the first that redeems the ticket.
 */
export class LockTickets implements Tickets {
  constructor(private readonly locks: Locks) {}

  async issue({ user, expiresAt, topics }: Admission, options: { readonly ttl?: number } = {}): Promise<string> {
    checkArguments('tickets.issue', options);
    checkUser(user);
    const text = JSON.stringify({ user, expiresAt: expiresAt?.getTime(), topics });
    if (Buffer.byteLength(text) > MAX_TICKET_BYTES) {
      throw new SseError(
        'INVALID_OPTION',
        `an admission of a ticket must have at most ${MAX_TICKET_BYTES} bytes; name fewer topics`,
      );
    }
    const ticket = randomBytes(32).toString('base64url');
    await this.locks.acquireLock(nameOf(ticket), text, options.ttl ?? TICKET_MS);
    return ticket;
  }

  async redeem(ticket: string): Promise<Admission | undefined> {
    if (!TICKET.test(ticket)) return undefined;
    const name = nameOf(ticket);
    const text = await this.locks.lockHolder(name);
    if (text === undefined) return undefined;
    const isFirst = await this.locks.acquireLock(`${name} used`, randomBytes(16).toString('hex'), MAX_TICKET_MS);
    return isFirst ? admissionIn(text) : undefined;
  }
}

/** Readers of Redis find the digest, which is no ticket. */
function nameOf(ticket: string): string {
  return `ticket ${createHash('sha256').update(ticket).digest('base64url')}`;
}

function admissionIn(text: string): Admission {
  // Only `issue` writes these locks.
  const { user, expiresAt, topics } = JSON.parse(text) as { user: string; expiresAt?: number; topics?: string[] };
  checkUser(user);
  return {
    user,
    ...(expiresAt !== undefined && { expiresAt: new Date(expiresAt) }),
    ...(topics !== undefined && { topics }),
  };
}

/**
 * A guard that admits a request by the ticket in its query, `?ticket=…`, as the user for whom the ticket was issued: 401 without
 * one, and for a ticket that is unknown, used or too old. `sseModule` binds it.
 */
export class TicketGuard implements SseGuard {
  constructor(private readonly sse: Pick<SseService, 'tickets'>) {}

  async canConnect({ query }: SseRequest): Promise<Admission | number> {
    const { ticket } = query;
    return (typeof ticket === 'string' ? await this.sse.tickets.redeem(ticket) : undefined) ?? 401;
  }
}
