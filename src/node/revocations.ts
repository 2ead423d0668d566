import { randomBytes } from 'node:crypto';
import type { Revocation, RevocationOptions, RevocationSelector } from '../contracts/authorization.js';
import type { RememberedTopic } from '../contracts/cluster.js';
import type { CloseReceipt } from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import { ADMISSION_MS } from '../options/arguments.js';
import { shownValue } from '../options/problems.js';
import { checkConnectionId, checkReason, checkTopic, checkUser, idsOf, isForUser } from '../protocol/names.js';
import { Periodic } from '../time.js';
import type { SseNode } from './node.js';
import type { Subscriptions } from './subscriptions.js';

const TTL_MS = 86_400_000;
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
    private readonly subscriptions: Pick<Subscriptions, 'remove'>,
  ) {
    this.#marking = new Periodic(() => this.#mark(), { everyMs: RETRY_MS, jitter: 0.3 });
  }

  /** Never rejects because of the cluster. @throws SseError */
  async revoke(selector: RevocationSelector, options: RevocationOptions): Promise<CloseReceipt> {
    const { reason = 'revoked', cut = false, ttl = TTL_MS } = options;
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
      this.subscriptions.remove(connection, topic).catch((error: unknown) => {
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

/** @throws SseError `INVALID_USER`, `INVALID_CONNECTION_ID`, `INVALID_TOPIC`, and `INVALID_OPTION` where nothing is named */
function targetOf(selector: RevocationSelector): Pick<Revocation, 'target' | 'topics'> {
  // A caller in JavaScript may have named neither.
  const named: Partial<Record<keyof RevocationSelector, unknown>> = selector;
  if (named.user === undefined && named.connectionId === undefined) {
    const got = shownValue(selector);
    throw new SseError(
      'INVALID_OPTION',
      `revoke must be called with { user } or { connectionId }, got ${got} without them`,
    );
  }
  const { user, connectionId, topics = [] } = selector;
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
