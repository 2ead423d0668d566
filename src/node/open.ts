import type { ClientConnection } from '../connection/client-connection.js';
import { isEnded } from '../connection/end.js';
import type { Backlog, Registration } from '../contracts/cluster.js';
import type { ConnectionSink } from '../contracts/connection.js';
import type { ConnectionOptions } from '../contracts/service.js';
import { SseError } from '../errors.js';
import { type ConnectionSettings, PAGE_LOAD_TAKEOVERS } from '../options/sse-options.js';
import { comebackOf, ENDED } from '../protocol/cursor.js';
import {
  checkIdWithoutUser,
  checkKey,
  connectionIdOf,
  legalLastEventId,
  mailboxTopic,
  sourceTopic,
  userTopic,
} from '../protocol/names.js';
import { pause, withTimeout } from '../time.js';
import type { Authorization } from './authorization.js';
import { type DegradedConnection, DegradedConnections, isCutOff } from './degraded.js';
import type { SseNode } from './node.js';
import type { Opened, Replayer, ReplayStart } from './replay.js';
import type { Revocations } from './revocations.js';
import type { ResumableSources } from './sources.js';
import { assertOwn, type Subscriptions } from './subscriptions.js';

/**
 * Opens connections, in the one order that neither loses nor repeats an event: store it as opening, so that it holds what
 * arrives; start the feed of its topics; read what its client missed so far; register its route; write the head and what
 * was missed; let go what was held and is newer.
 */
export class ConnectionOpener {
  readonly #degraded: DegradedConnections;

  constructor(
    private readonly node: SseNode,
    private readonly subscriptions: Subscriptions,
    private readonly authorization: Authorization,
    private readonly revocations: Revocations,
    private readonly sources: ResumableSources,
    private readonly replayer: Replayer,
  ) {
    this.#degraded = new DegradedConnections(node, degraded => this.#adopt(degraded));
  }

  open(name: string, sink: ConnectionSink, options: ConnectionOptions): Promise<ClientConnection> {
    const connectionId = this.#idOf(name, options);
    const subject = { connectionId, topics: options.topics ?? [], source: options.source?.key };
    const opening = this.node.telemetry.connections.opening(subject, () => this.#open(connectionId, sink, options));
    return this.node.audit.on ? this.#audited(connectionId, options, opening) : opening;
  }

  /** The id by which the cluster knows a connection. @throws SseError `INVALID_CONNECTION_ID`, `INVALID_USER` */
  #idOf(name: string, { user, address }: ConnectionOptions): string {
    try {
      if (user !== undefined) return connectionIdOf(user, name);
      checkIdWithoutUser(name);
      return name;
    } catch (error) {
      this.node.telemetry.connections.refused(undefined, error);
      this.node.audit.refused({ user, address }, error);
      throw error;
    }
  }

  async #audited(
    connectionId: string,
    { user, address }: ConnectionOptions,
    opening: Promise<ClientConnection>,
  ): Promise<ClientConnection> {
    const subject = { connectionId, user, address };
    try {
      const connection = await opening;
      this.node.audit.record({ kind: 'connect', ...subject, topics: [...connection.topics] });
      return connection;
    } catch (error) {
      this.node.audit.refused(subject, error);
      throw error;
    }
  }

  async #open(connectionId: string, sink: ConnectionSink, options: ConnectionOptions): Promise<ClientConnection> {
    const topics = this.subscriptions.check(options.topics ?? [], options.user);
    if (options.ids !== undefined) refuseTopics(options);
    const { backlog, ids, source, admittedAt = performance.now() } = options;
    const onDuplicate = options.onDuplicate ?? this.node.options.connection.onDuplicate;
    const brought = legalLastEventId(options.lastEventId);
    if (brought === ENDED) {
      throw new SseError('SOURCE_ENDED', 'the source of this stream has ended and its client has all of it');
    }
    const comeback = comebackOf(brought);
    this.node.assertAccepting();
    if (!this.node.cluster.joined) await this.node.cluster.join();
    this.#assertWelcome(connectionId, sink, onDuplicate);
    const bounds = this.node.limits.arrive(
      options,
      brought !== undefined || backlog !== undefined || source !== undefined,
    );
    if (source !== undefined) {
      checkKey('a source key', source.key);
      assertOwn(options.user, source.key);
      await this.sources.begin(source, options.user, comeback.lastEventId);
      topics.push(sourceTopic(source.key));
      // Much may have happened meanwhile.
      this.#assertWelcome(connectionId, sink, onDuplicate);
    }
    this.revocations.assertHolds(connectionId, topics, admittedAt);
    this.node.limits.assertRoom(bounds, this.node.store.get(connectionId));
    const connection = this.node.createConnection(connectionId, sink, comeback, ids, admittedAt);
    this.authorization.begin(connection, options.expiresAt, options.allowedTopics);
    if (options.confirms === true) this.node.confirmations?.begin(connection);
    if (options.onReset !== undefined) this.node.resetHooks.set(connection, options.onReset);
    this.node.limits.enter(connection, bounds);
    this.node.store.add(connection);
    return this.#openStored(connection, topics, onDuplicate, options);
  }

  /** Opens a connection that is in the store as opening. A failure closes the connection. */
  async #openStored(
    connection: ClientConnection,
    topics: string[],
    onDuplicate: Registration['onDuplicate'],
    { backlog, beforeOpen, source, user }: ConnectionOptions,
  ): Promise<ClientConnection> {
    const { id } = connection;
    try {
      if (this.node.options.mailbox.enabled && !connection.ownIds) topics.push(mailboxTopic(id));
      if (user !== undefined) topics.push(userTopic(user));
      const admit = beforeOpen && once(() => this.#handle(connection, beforeOpen));
      const missed = await this.#join(connection, topics, { onDuplicate, backlog, ...(admit && { admit }) });
      if (missed === undefined) {
        await admit?.();
        assertOpening(connection);
        this.node.telemetry.connections.admitted(connection, true);
        this.#degraded.open(connection, topics, backlog);
      } else {
        this.#own(connection);
        await this.replayer.finish(connection, missed);
        if (source !== undefined) void this.sources.closeEnded(source.key);
      }
      assertOpening(connection);
      return connection;
    } catch (error) {
      connection.close('failed');
      throw error;
    } finally {
      if (this.node.handled.get(id) === connection) this.node.handled.delete(id);
    }
  }

  /** @throws SseError when this node takes no connections at present, or not this one */
  #assertWelcome(connectionId: string, sink: ConnectionSink, onDuplicate: 'takeover' | 'reject'): void {
    this.node.assertAccepting();
    this.#assertConsistent();
    if (sink.closed) throw clientGone();
    if (this.node.store.get(connectionId) === undefined) this.#checkCapacity();
    else if (onDuplicate === 'reject') throw duplicate(connectionId, this.node.options.node.id);
  }

  /** Everything that needs the cluster; `undefined` when this node is cut off and the connection may open without. */
  async #join(
    connection: ClientConnection,
    topics: readonly string[],
    how: Entering,
  ): Promise<ReplayStart | undefined> {
    try {
      const missed = await this.#insist(connection, () => this.#enter(connection, topics, how));
      this.node.telemetry.connections.admitted(connection);
      return missed;
    } catch (error) {
      if (this.node.options.onUnavailable === 'degrade' && this.#isCutOff(connection, error)) return undefined;
      throw error;
    }
  }

  /**
   * Repeats a step that fails although the status of the cluster is well, until that changes or the time of a registration is
   * over.
   */
  async #insist<T>(connection: ClientConnection, step: () => Promise<T>): Promise<T> {
    const until = performance.now() + this.node.options.resilience.register.timeout;
    for (;;) {
      try {
        return await step();
      } catch (error) {
        if (!SseError.is(error, 'UNAVAILABLE')) throw error;
        assertOpening(connection);
        if (this.#isCutOff(connection, error) || performance.now() >= until) throw error;
        await pause(RETRY_MS * (0.5 + Math.random()));
      }
    }
  }

  /** Whether a failed call is one that this node cannot make at present. */
  #isCutOff({ id }: ClientConnection, error: unknown): boolean {
    if (!SseError.is(error, 'UNAVAILABLE')) return false;
    // Data of one of its topics alone cannot be read, which no status knows.
    return isCutOff(this.node, id) || error.noEffect === 'KEY_UNREADABLE';
  }

  /** Runs the handler of an opening connection until it has admitted the client. Rejects when the handler refuses it. */
  async #handle(connection: ClientConnection, handler: Handler): Promise<void> {
    const handling = connection.beginHandling();
    this.node.handled.set(connection.id, connection);
    const running = handler(connection);
    // Most handlers only register the connection somewhere.
    if (!(running instanceof Promise)) return;
    const decided = running.catch((error: unknown) => {
      // An event was sent already: the caller ends the stream.
      if (!handling.used) throw error;
    });
    await withTimeout(Promise.race([decided, handling.whenUsed()]), HANDLER_MS, () => undefined);
  }

  /** Makes a connection that opened without the cluster like any other, while its stream goes on. */
  async #adopt({ connection, topics, backlog, openedAt, seen }: DegradedConnection): Promise<boolean> {
    if (!connection.reopen()) return isEnded(connection.state);
    let start: ReplayStart;
    try {
      const how = { onDuplicate: 'takeover', openedAt, backlog } as const;
      start = await this.#enter(connection, topics, how, { openedAt, seen });
    } catch (error) {
      if (SseError.is(error, 'DUPLICATE_CONNECTION')) connection.close('superseded');
      else if (SseError.is(error, 'FORBIDDEN')) connection.close('revoked');
      else this.node.logger.debug('a connection could not be adopted; trying again', { id: connection.id, error });
      connection.goLive(undefined);
      return isEnded(connection.state);
    }
    try {
      await this.replayer.resume(connection, start);
    } catch (error) {
      // The client comes back with the id of the last entry that it was given.
      this.node.logger.debug('a replay failed; the client resumes with its next connection', { error });
      connection.close('failed');
    }
    return true;
  }

  /** @param opened when the connection opened without the cluster */
  async #enter(
    connection: ClientConnection,
    topics: readonly string[],
    { admit, backlog, onDuplicate, openedAt }: Entering,
    opened?: Opened,
  ): Promise<ReplayStart> {
    const initial = this.subscriptions.remembered(connection, topics);
    // A page load has nothing to wait for.
    const { wanted, since } = initial instanceof Promise ? await initial : initial;
    assertOpening(connection);
    if (wanted.length > 0) await this.subscriptions.begin(connection, wanted);
    assertOpening(connection);
    this.revocations.assertHolds(connection.id, wanted, connection.openedAt);
    const missed = await this.replayer.begin(connection, { since, backlog, opened });
    assertOpening(connection);
    await admit?.();
    assertOpening(connection);
    // Alone: an adoption that began anew would read a later head, and a reset would stand for what is held since.
    await this.#insist(connection, () => this.#register(connection, onDuplicate, openedAt));
    assertOpening(connection);
    return missed;
  }

  async #register(
    connection: ClientConnection,
    onDuplicate: Registration['onDuplicate'],
    openedAt: number | undefined,
  ): Promise<void> {
    const { cluster, options, telemetry } = this.node;
    const { id, token, user, lastEventId, failures } = connection;
    const pageLoad = lastEventId === undefined && failures === 0;
    const { limits, maxConnections } = this.node.limits.shared(connection);
    const registration: Registration = {
      connectionId: id,
      token,
      onDuplicate,
      user,
      openedAt,
      pageLoad,
      trace: telemetry.connections.cause(),
      limits,
      maxConnections,
    };
    const result = await cluster.routes.register(registration).catch((error: unknown) => {
      this.node.noteUnanswered(connection);
      throw error;
    });
    if (result.outcome === 'exists') throw duplicate(id, result.nodeId);
    if (result.outcome === 'full' || result.outcome === 'rate-limited') throw this.node.limits.refusal(result);
    if (result.outcome === 'storm') {
      this.node.evictions.refused(id);
      throw takenOverTooOften(id, pageLoad, options.connection);
    }
    // From here on the end of the connection releases the route. A connection that ended before has not.
    if (connection.state.kind === 'opening') connection.fencingToken = result.fencingToken;
    else this.node.releaseRoute(connection);
  }

  /** @throws SseError `DUPLICATE_CONNECTION` when its answer came after that of a later registration */
  #own(connection: ClientConnection): void {
    const { store } = this.node;
    const owner = store.get(connection.id);
    // One that the cluster does not know has no token, and is not newer.
    if ((owner?.fencingToken ?? 0) > (connection.fencingToken ?? Infinity)) {
      throw duplicate(connection.id, 'a newer connection');
    }
    store.promote(connection)?.close('superseded');
  }

  #assertConsistent(): void {
    const trouble = this.node.consistency?.trouble;
    if (trouble === undefined) return;
    throw new SseError(
      'INCONSISTENT',
      `${trouble}, so it takes no new connections (consistency.inconsistencyHandlingStrategy); connect again and reach ` +
        'another one',
    );
  }

  #checkCapacity(): void {
    const { maxConnections } = this.node.options.connection;
    if (this.node.store.size + this.node.store.opening >= maxConnections) {
      throw new SseError(
        'CONNECTION_LIMIT',
        `this node holds ${maxConnections} connections (connection.maxConnections); connect again later`,
        { limit: 'connection.maxConnections' },
      );
    }
  }
}

const RETRY_MS = 50;
/** Milliseconds that the head waits for a handler. */
const HANDLER_MS = 200;

/** How a connection enters the cluster. */
interface Entering extends Pick<Registration, 'onDuplicate' | 'openedAt'> {
  /** Runs the handler that may refuse it. */
  readonly admit?: () => Promise<void>;
  readonly backlog: Backlog | undefined;
}

type Handler = NonNullable<ConnectionOptions['beforeOpen']>;

/** Does the work once, however often the call that needs it is repeated. */
function once(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= work());
}

/** @throws SseError `INVALID_OPTION` for a connection that cannot resume where its client is in the log */
function refuseTopics({ topics = [], backlog, source, onReset }: ConnectionOptions): void {
  if (topics.length === 0 && (backlog ?? source ?? onReset) === undefined) return;
  throw new SseError(
    'INVALID_OPTION',
    "a connection with ids: 'application' must have no topics, backlog, source or onReset, which need the ids of the log; leave them out",
  );
}

/** @throws SseError saying why, when the connection has stopped before it was open */
function assertOpening(connection: ClientConnection): void {
  const { state } = connection;
  if (state.kind === 'opening' || state.kind === 'open') return;
  switch (state.reason) {
    case 'superseded':
      throw duplicate(connection.id, 'a newer connection');
    case 'draining':
    case 'shutdown':
      throw new SseError('DRAINING', 'this node is going away; connect again and reach another one');
    case 'revoked':
    case 'expired':
      throw new SseError('FORBIDDEN', 'the rights of this client ended while it connected');
    case 'slow':
      throw new SseError('SEND_BUFFER_FULL', 'more arrived while opening than sendBuffer.maxBytes; connect again');
    default:
      throw clientGone();
  }
}

function clientGone(): SseError {
  return new SseError('CONNECTION_CLOSED', 'the client left, or was closed, before its stream was open');
}

function duplicate(connectionId: string, owner: string): SseError {
  return new SseError(
    'DUPLICATE_CONNECTION',
    `connection '${connectionId}' is connected already (${owner}); close it first or use another id`,
  );
}

/** A connection id that was taken over too often, by reconnects or by page loads. */
function takenOverTooOften(id: string, pageLoad: boolean, settings: ConnectionSettings): SseError {
  const { takeoverLimit, takeoverWindow } = settings;
  const times = pageLoad ? `${PAGE_LOAD_TAKEOVERS} times by page loads` : `${takeoverLimit} times`;
  return new SseError(
    pageLoad ? 'RATE_LIMITED' : 'TAKEOVER_STORM',
    `connection '${id}' was taken over ${times} within ${takeoverWindow} ms; its present owner keeps it. Give each tab an id ` +
      'of its own',
  );
}
