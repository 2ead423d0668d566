import type { ClientConnection } from '../connection/client-connection.js';
import { rejection } from '../cluster/guarded-cluster.js';
import { isEnded } from '../connection/end.js';
import type { RememberedTopic, SubscriptionChange } from '../contracts/cluster.js';
import type { CommandReceipt, Cursor, FanOut, Frame, Position } from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import { checkConnectionId, checkTopic, isInternal, ownerInName, userOf } from '../protocol/names.js';
import { isAfter, later } from '../protocol/cursor.js';
import { Periodic } from '../time.js';
import type { Authorization } from './authorization.js';
import type { SseNode } from './node.js';
import { cursorOf } from './replay.js';

/** The answer to every command after `close`. */
export const CLOSED: CommandReceipt = { outcome: 'unavailable', code: 'CLOSED' };

/** What a connection follows from its beginning. */
interface InitialTopics {
  /** Topics to be subscribed. */
  readonly wanted: readonly string[];
  /** Where the client began to follow some of them. */
  readonly since: ReadonlyMap<string, Cursor>;
}

const NOWHERE: InitialTopics['since'] = new Map();

/**
 * The topics of this node's connections. Each of them is one `log.subscribe` of the node. Changes by `subscribe` and
 * `unsubscribe` are remembered by the cluster, for a client that comes back on any node.
 */
export class Subscriptions {
  /**
   * Topics that a connection follows because of `subscribe`, here or on another node before, and topics that it does not
   * follow any more although the cluster does not know that yet.
   */
  readonly #changed = new Map<LocalConnection, Map<string, 'add' | 'drop'>>();
  readonly #keeping: Periodic;
  /** By topic: connections whose grant begins after what the feed has delivered, and where it begins. */
  readonly #awaiting = new Map<string, Map<LocalConnection, Cursor>>();

  /** @param isRevoked whether what is remembered of a connection id has no effect any more */
  constructor(
    private readonly node: SseNode,
    private readonly authorization: Authorization,
    private readonly isRevoked: (connectionId: string, topic: string, state: RememberedTopic) => boolean,
  ) {
    this.#keeping = new Periodic(() => this.#keep(), { everyMs: node.options.history.ttl / 2, jitter: 0.1 });
  }

  /** The distinct topics of a new connection. @throws SseError `INVALID_TOPIC`, `FORBIDDEN` */
  check(topics: readonly string[], user: string | undefined): string[] {
    if (topics.length === 0) return [];
    const distinct = [...new Set(topics)];
    for (const topic of distinct) {
      checkTopic(topic);
      assertOwn(user, topic);
    }
    if (distinct.length > this.#limit) throw this.#tooMany(distinct.length);
    return distinct;
  }

  /** The topics of a new connection, those of its client's former connection among them. @throws SseError `UNAVAILABLE` */
  remembered(connection: ClientConnection, topics: readonly string[]): InitialTopics | Promise<InitialTopics> {
    const recalls = cursorOf(connection) !== undefined;
    if (recalls || this.authorization.limits(connection)) return this.#granted(connection, topics, recalls);
    return { wanted: topics.filter(topic => !connection.topics.has(topic)), since: NOWHERE };
  }

  /** @throws SseError `FORBIDDEN` for a topic that the application named and that the connection may not follow */
  async #granted(connection: ClientConnection, topics: readonly string[], recalls: boolean): Promise<InitialTopics> {
    const { wanted, since } = recalls ? await this.#recalled(connection, topics) : { wanted: topics, since: NOWHERE };
    if (!this.authorization.limits(connection)) return { wanted, since };
    const asked = wanted.filter(topic => !isInternal(topic));
    const grants = await this.authorization.grantsOf(connection, asked);
    for (const topic of topics)
      if (!isInternal(topic) && wanted.includes(topic) && !grants.has(topic)) throw forbidden();
    const bounds = new Map(since);
    for (const [topic, bound] of grants) {
      const begun = since.get(topic);
      if (bound !== undefined) bounds.set(topic, begun === undefined ? bound : atLeast(bound, begun));
    }
    return { wanted: wanted.filter(topic => isInternal(topic) || grants.has(topic)), since: bounds };
  }

  async #recalled(connection: ClientConnection, topics: readonly string[]): Promise<InitialTopics> {
    const followed = new Set(topics);
    const since = new Map<string, Cursor>();
    for (const [topic, state] of await this.node.cluster.log.recall(connection.id, this.#ttl)) {
      if (this.isRevoked(connection.id, topic, state)) this.#note(connection, topic, 'drop');
      else if (state.kind === 'dropped') followed.delete(topic);
      else if (!followed.has(topic)) {
        followed.add(topic);
        this.#note(connection, topic, 'add');
        if (state.since !== undefined) since.set(topic, state.since);
      }
    }
    return { wanted: [...followed].filter(topic => !connection.topics.has(topic)), since };
  }

  /** Subscribes a new connection that is stored, unless it stops meanwhile. @throws SseError `UNAVAILABLE` */
  async begin(connection: LocalConnection, topics: readonly string[]): Promise<void> {
    await this.node.cluster.log.subscribe(topics);
    for (const topic of topics) this.#subscribe(connection, topic);
  }

  /** Changes what a connection follows, wherever it is. @throws SseError `INVALID_CONNECTION_ID`, `INVALID_TOPIC` */
  async change(connectionId: string, topic: string, how: 'subscribe' | 'unsubscribe'): Promise<CommandReceipt> {
    checkConnectionId(connectionId);
    checkTopic(topic);
    const { closed, cluster, telemetry } = this.node;
    if (closed) return CLOSED;
    if (how === 'subscribe' && !isOwn(userOf(connectionId), topic)) return { outcome: 'rejected', code: 'FORBIDDEN' };
    const connection = this.node.connectionOf(connectionId);
    const orRemember = async (receipt: CommandReceipt): Promise<CommandReceipt> => {
      if (receipt.outcome !== 'not-connected') return receipt;
      return cluster.remember(this.#change(connectionId, topic, how === 'subscribe' ? 'keep' : 'drop'));
    };
    if (connection !== undefined) {
      const change = how === 'subscribe' ? this.add(connection, topic) : this.remove(connection, topic);
      return receiptOf(change).then(orRemember);
    }
    const work = () => cluster.messenger[how](connectionId, topic).then(orRemember);
    return telemetry.connections.commanding(how, connectionId, work);
  }

  /** Subscribes a live connection; resolves to whether it still is. @throws SseError `INVALID_TOPIC`, `UNAVAILABLE` */
  async add(connection: LocalConnection, topic: string): Promise<boolean> {
    if (connection.topics.has(topic)) return true;
    if (!isOwn(connection.user, topic)) throw forbidden();
    const grants = this.authorization.limits(connection)
      ? await this.authorization.grantsOf(connection, [topic])
      : undefined;
    if (grants?.has(topic) === false) throw forbidden();
    if (connection.ownIds) {
      throw new SseError('INVALID_TOPIC', `connection '${connection.id}' has ids: 'application' and follows no topics`);
    }
    await this.node.cluster.log.subscribe([topic]);
    const own = [...connection.topics].filter(isInternal).length;
    const count = connection.topics.size - own + 1;
    // Looked at only now, since calls like this one may have been faster.
    if (count > this.#limit && !connection.topics.has(topic)) {
      this.node.cluster.log.unsubscribe([topic]);
      throw this.#tooMany(count);
    }
    if (!this.#subscribe(connection, topic)) return this.#isHere(connection);
    const since = grants?.get(topic);
    if (since !== undefined) this.#await(connection, topic, since);
    try {
      await this.#remember(connection, topic, 'add');
    } catch (error) {
      this.#unsubscribe(connection, topic);
      throw error;
    }
    this.#note(connection, topic, 'add');
    return this.#isHere(connection);
  }

  /** Unsubscribes a live connection, cut off as well; resolves to whether it still is live. @throws SseError `INVALID_TOPIC` */
  async remove(connection: LocalConnection, topic: string): Promise<boolean> {
    this.#unsubscribe(connection, topic);
    this.#note(connection, topic, 'drop');
    try {
      await this.#drop(connection, topic);
    } catch (error) {
      if (!SseError.is(error, 'UNAVAILABLE')) throw error;
      this.#keeping.runWithin(RETRY_MS);
    }
    return this.#isHere(connection);
  }

  /** Makes the cluster remember that a connection does not follow a topic, unless it follows the topic again. */
  async #drop(connection: LocalConnection, topic: string): Promise<void> {
    const topics = this.#changed.get(connection);
    if (topics?.get(topic) !== 'drop') return;
    await this.#remember(connection, topic, 'drop');
    if (topics.get(topic) === 'drop') topics.delete(topic);
  }

  /** Delivers a publication to the subscribers of its topic, but those whose grant begins after it: the feed may be behind. */
  deliver(topic: string, frame: Frame): FanOut {
    const { store } = this.node;
    const awaiting = this.#awaiting.get(topic);
    const { position } = frame;
    if (awaiting === undefined || position === undefined) return store.deliverToTopic(topic, frame);
    const early: LocalConnection[] = [];
    for (const [connection, since] of awaiting) {
      // What follows in the log is later still.
      if (isAfter(position, since)) awaiting.delete(connection);
      else if (store.unsubscribe(connection, topic)) early.push(connection);
    }
    if (awaiting.size === 0) this.#awaiting.delete(topic);
    const counts = store.deliverToTopic(topic, frame);
    for (const connection of early) store.subscribe(connection, topic);
    return counts;
  }

  #await(connection: LocalConnection, topic: string, since: Cursor): void {
    const delivered = this.node.cluster.log.position();
    if (delivered !== undefined && isAfter(delivered, since)) return;
    const awaiting = this.#awaiting.get(topic) ?? new Map<LocalConnection, Cursor>();
    this.#awaiting.set(topic, awaiting.set(connection, since));
  }

  /** Follows a `log.subscribe`, which is taken back when the connection has stopped or is subscribed already. */
  #subscribe(connection: LocalConnection, topic: string): boolean {
    const subscribed = this.node.store.subscribe(connection, topic);
    if (!subscribed) this.node.cluster.log.unsubscribe([topic]);
    return subscribed;
  }

  #unsubscribe(connection: LocalConnection, topic: string): void {
    this.#awaiting.get(topic)?.delete(connection);
    if (this.node.store.unsubscribe(connection, topic)) this.node.cluster.log.unsubscribe([topic]);
  }

  #isHere({ id, token }: LocalConnection): boolean {
    return this.node.store.find(id, token) !== undefined;
  }

  /** @throws SseError `INVALID_TOPIC`, `UNAVAILABLE` */
  async #remember({ id }: LocalConnection, topic: string, change: SubscriptionChange['change']): Promise<void> {
    if (await this.node.cluster.log.remember(this.#change(id, topic, change))) return;
    throw this.#tooMany(this.#limit + 1);
  }

  #change(connectionId: string, topic: string, change: SubscriptionChange['change']): SubscriptionChange {
    // A connection that follows as many topics as it may can leave all of them.
    const limit = change === 'keep' ? this.#limit : 2 * this.#limit;
    return { connectionId, topic, change, limit, ttl: this.#ttl };
  }

  #note(connection: LocalConnection, topic: string, change: 'add' | 'drop'): void {
    const topics = this.#changed.get(connection) ?? new Map<string, 'add' | 'drop'>();
    this.#changed.set(connection, topics.set(topic, change));
    this.#keeping.start();
  }

  /** Prolongs what is remembered of this node's connections, writes what the cluster does not know, and forgets ended ones. */
  async #keep(): Promise<void> {
    const { closed, logger } = this.node;
    for (const [connection, topics] of this.#changed) {
      if (isEnded(connection.state)) for (const [topic, change] of topics) if (change === 'add') topics.delete(topic);
      if (topics.size === 0 || closed) this.#changed.delete(connection);
    }
    if (this.#changed.size === 0) this.#keeping.stop();
    for (const [topic, awaiting] of this.#awaiting) {
      for (const connection of awaiting.keys()) if (isEnded(connection.state)) awaiting.delete(connection);
      if (awaiting.size === 0) this.#awaiting.delete(topic);
    }
    const connections = [...this.#changed];
    for (let from = 0; from < connections.length; from += KEPT_AT_ONCE) {
      const some = connections.slice(from, from + KEPT_AT_ONCE);
      const results = await Promise.allSettled(some.map(([connection, topics]) => this.#keepOne(connection, topics)));
      const failure = results.find(result => result.status === 'rejected');
      if (failure === undefined) continue;
      const error: unknown = failure.reason;
      logger.debug('the subscriptions of clients could not be remembered; trying again', { error });
      this.#keeping.runWithin(RETRY_MS);
      return;
    }
  }

  async #keepOne(connection: LocalConnection, topics: ReadonlyMap<string, 'add' | 'drop'>): Promise<void> {
    const known = await this.node.cluster.log.recall(connection.id, this.#ttl);
    for (const [topic, change] of topics) {
      if (change === 'drop') await this.#drop(connection, topic);
      else if (!known.has(topic)) await this.#remember(connection, topic, 'add');
    }
  }

  /** What is remembered lives so long that a client finds it `history.ttl` after a run of {@link #keep} that failed. */
  get #ttl(): number {
    return 2 * this.node.options.history.ttl;
  }

  get #limit(): number {
    return this.node.options.limits.maxTopicsPerConnection;
  }

  #tooMany(count: number): SseError {
    return new SseError(
      'INVALID_TOPIC',
      `a connection follows at most ${this.#limit} topics (limits.maxTopicsPerConnection), got ${count}; raise it, or put more into one topic`,
    );
  }
}

/** Milliseconds after which a failure is repeated, about. */
const RETRY_MS = 1_000;
/** Calls that are under way at once; those of one turn of the event loop travel together. */
const KEPT_AT_ONCE = 320;

/** The receipt of a command that this node carries out itself. */
async function receiptOf(command: Promise<boolean>): Promise<CommandReceipt> {
  try {
    return { outcome: (await command) ? 'delivered' : 'not-connected' };
  } catch (error) {
    const rejected = SseError.is(error) ? rejection(error.code) : undefined;
    if (rejected !== undefined) return rejected;
    // The connection does not follow the topic: its feed did not begin, or the subscription was taken back.
    if (SseError.is(error, 'CLOSED')) return CLOSED;
    return { outcome: 'unavailable', code: (SseError.is(error) && error.noEffect) || 'CLUSTER_UNREACHABLE' };
  }
}

/** Whether a topic, or the key of a source, has no other user in its name. */
function isOwn(user: string | undefined, name: string): boolean {
  const owner = ownerInName(name);
  return owner === undefined || owner === user;
}

function forbidden(): SseError {
  return new SseError('FORBIDDEN', 'the connection may not follow this topic; ask for a grant, or leave the topic out');
}

/** A grant of a client that began to follow its topic later. */
function atLeast({ epoch, ...bound }: Cursor, begun: Position): Cursor {
  const { ms, sequence } = later(bound, begun);
  return { epoch, ms, sequence };
}

/** @throws SseError `FORBIDDEN` for a topic, or the key of a source, with another user in its name */
export function assertOwn(user: string | undefined, name: string): void {
  if (isOwn(user, name)) return;
  throw new SseError('FORBIDDEN', 'a topic or source with a user in its name is for connections of that user');
}
