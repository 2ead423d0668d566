import { isEnded } from '../connection/end.js';
import type { AuthorizedClient, Authorizer } from '../contracts/authorization.js';
import type { Cursor } from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import { ANY_LOG } from '../protocol/cursor.js';
import { Periodic, withTimeout } from '../time.js';
import type { SseNode } from './node.js';

/** Milliseconds between two looks at what runs out, and over which the ends at one time are spread. */
const LOOK_MS = 1_000;
const SPREAD_MS = 3_000;
/** Connections about which the authorizer is asked at once. */
const ASKED_AT_ONCE = 100;

/** The topics that a connection may follow, each with the position after which it may; `undefined`: from its beginning. */
type Grants = ReadonlyMap<string, Cursor | undefined>;

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
