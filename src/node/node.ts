import { AsyncResource } from 'node:async_hooks';
import { closedService, type GuardedCluster } from '../cluster/guarded-cluster.js';
import { ClientConnection } from '../connection/client-connection.js';
import { MessageIds, MessageMemories } from '../connection/direct-send.js';
import { isEnded } from '../connection/end.js';
import type { ConnectionEnvironment, ConnectionIdentity, ConnectionObserver } from '../connection/environment.js';
import { HeartbeatWheel, TurnBudget, Watchdog, WriteScheduler } from '../connection/scheduler.js';
import { SendBufferBudget } from '../connection/send-buffer.js';
import type { Authorizer } from '../contracts/authorization.js';
import type { ClusterCoordinator } from '../contracts/cluster.js';
import type { CloseReason, ConnectionSink, Reset, ResetClient, ResetHook } from '../contracts/connection.js';
import type { ReservedTopics } from '../contracts/listener.js';
import type { Audit, AuditEvent, AuditListener, AuditSubject, Logger } from '../contracts/logger.js';
import type { ResiliencePolicy } from '../contracts/policy.js';
import type { ConnectionStore, LocalConnection } from '../contracts/store.js';
import type { Telemetry } from '../contracts/telemetry.js';
import { SseError, statusOf } from '../errors.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import type { Comeback } from '../protocol/cursor.js';
import { EventEncoder, joinResets } from '../protocol/event-stream.js';
import { withTimeout } from '../time.js';
import { Confirmations } from './confirmations.js';
import { ConnectionLimits, Evictions } from './limits.js';
import type { Maintenance, Reconciler } from './maintenance.js';

/** The life of a node. It never goes back. */
export type Phase = 'new' | 'started' | 'draining' | 'closed';

/** The conclusions of the background comparison with the cluster. */
export type Consistency = Pick<Reconciler, 'trouble' | 'runSoon'>;

/** The services a node is made of. */
export interface NodeServices {
  readonly options: ResolvedSseOptions;
  readonly store: ConnectionStore;
  readonly coordinator: ClusterCoordinator;
  readonly policy: ResiliencePolicy;
  /** Default: what guards allow. */
  readonly authorizer?: Authorizer;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  /** Without it nothing is checked. */
  readonly consistency?: Consistency;
  /** Without it nothing is audited. */
  readonly audit?: Audit;
  /** The background work, which ends with the node. */
  readonly maintenance?: Pick<Maintenance, 'stop'>;
}

/** Shared by the use cases of one node: its services and phase, and how its connections are made and forgotten. */
export class SseNode implements ConnectionObserver {
  readonly environment: ConnectionEnvironment;
  readonly resetHooks: ResetHooks;
  readonly evictions: Evictions;
  /** `undefined` where clients may not confirm. */
  readonly confirmations: Confirmations | undefined;
  readonly encoder: EventEncoder;
  readonly limits: ConnectionLimits;
  readonly audit: Audit;
  readonly options: ResolvedSseOptions;
  readonly store: ConnectionStore;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly consistency: Consistency | undefined;
  /** Connections whose handler runs before they are registered, by id. */
  readonly handled = new Map<string, LocalConnection>();
  /** Gets the publications of reserved topics, if this node has a console. */
  reserved: ReservedTopics | undefined;
  /** By the monotonic clock. */
  readonly createdAt = performance.now();
  /** Sends that wait for an answer of the cluster. */
  pendingSends = 0;
  readonly #unobserve: () => void;
  readonly #maintenance: NodeServices['maintenance'];
  #ending: 'draining' | 'closed' | undefined;
  #ordinal = 0;
  #released: Promise<void> | undefined;
  // Stopped connections whose sockets still take their last bytes.
  readonly #departing = new Set<LocalConnection>();
  readonly #onDeparted: (() => void)[] = [];
  /** Their registration had no answer. */
  readonly #unanswered = new WeakSet<LocalConnection>();

  constructor(
    { options, store, logger, telemetry, consistency, maintenance, audit }: NodeServices,
    readonly cluster: GuardedCluster,
  ) {
    this.consistency = consistency;
    this.#maintenance = maintenance;
    this.options = options;
    this.store = store;
    this.logger = logger;
    this.telemetry = telemetry;
    this.evictions = new Evictions(logger);
    this.confirmations = options.confirmation.enabled ? new Confirmations(options.confirmation) : undefined;
    this.resetHooks = new ResetHooks(logger, telemetry.connections);
    this.limits = new ConnectionLimits(options.limits);
    this.audit = audit ?? new AuditTrail(options.node.id, logger, undefined);
    this.encoder = new EventEncoder(options.limits.maxEventBytes);
    this.environment = environmentOf(this);
    this.#unobserve = telemetry.observe({
      connections: () => store.size,
      sendBufferBytes: () => this.environment.budget.used,
      pendingSends: () => this.pendingSends,
      circuit: kind => cluster.circuit(kind),
    });
  }

  /** The connection of this node that calls by id mean: in a handler, its own before the former one. */
  connectionOf(connectionId: string): LocalConnection | undefined {
    return this.handled.get(connectionId) ?? this.store.get(connectionId);
  }

  get phase(): Phase {
    return this.#ending ?? (this.cluster.joined ? 'started' : 'new');
  }

  /** The node takes no new connections from now on. */
  beginDrain(): void {
    this.#ending ??= 'draining';
  }

  /** The application can use the node no more. */
  beginClose(): void {
    this.#ending = 'closed';
    this.reserved?.close();
    this.cluster.beginClose();
  }

  /** Whether the application can use the node no more. */
  get closed(): boolean {
    return this.#ending === 'closed';
  }

  /** @throws SseError `CLOSED` */
  assertOpen(): void {
    if (this.closed) throw closedService();
  }

  /** @throws SseError `CLOSED`, `DRAINING` */
  assertAccepting(): void {
    this.assertOpen();
    if (this.#ending === undefined) return;
    throw new SseError(
      'DRAINING',
      'this node is going away and takes no new connections; connect again and reach another one',
    );
  }

  /** What needs clients that confirm. @throws SseError `INVALID_OPTION` where they may not */
  confirming(what: string): Confirmations {
    if (this.confirmations !== undefined) return this.confirmations;
    throw new SseError('INVALID_OPTION', `${what} needs confirmation.enabled, got false; switch it on, on every node`);
  }

  /** A new connection in state `opening`, not stored yet. */
  createConnection(
    id: string,
    sink: ConnectionSink,
    { lastEventId, failures }: Comeback,
    ids: ConnectionIdentity['ids'],
    openedAt: number,
  ): ClientConnection {
    this.#ordinal += 1;
    const identity = { id, ordinal: this.#ordinal, lastEventId, failures, ids, openedAt };
    return new ClientConnection(identity, sink, this.environment);
  }

  /** The ordinal of the connection that was created last. */
  get newestOrdinal(): number {
    return this.#ordinal;
  }

  /** Whether this node has released all of its routes, for good. */
  get routesReleased(): boolean {
    return this.#released !== undefined;
  }

  /** Releases all routes of this node, once; connections that stop afterwards have none to release. Never rejects. */
  releaseRoutes(): Promise<void> {
    this.#released ??= this.cluster.routes.releaseAll().catch((error: unknown) => {
      this.logger.warn('the routes could not be released; they expire', { error });
    });
    return this.#released;
  }

  onStopped(connection: LocalConnection, reason: CloseReason): void {
    this.telemetry.connections.stopped(connection, reason);
    if (reason === 'superseded') this.evictions.superseded(connection.id);
    if (this.audit.on) this.#auditEnd(connection, reason);
    this.limits.leave(connection);
    this.store.remove(connection);
    this.confirmations?.end(connection);
    this.#departing.add(connection);
    this.cluster.log.unsubscribe(connection.topics);
    // A superseded connection has another token than the new owner, so that this changes nothing for the owner.
    const mayHaveRoute = connection.fencingToken !== undefined || this.#unanswered.has(connection);
    if (mayHaveRoute && !this.routesReleased) this.releaseRoute(connection);
  }

  #auditEnd({ id: connectionId, user }: LocalConnection, reason: CloseReason): void {
    const kind = reason === 'superseded' ? 'takeover' : reason === 'expired' ? 'expire' : undefined;
    if (kind !== undefined) this.audit.record({ kind, connectionId, user });
  }

  onReset({ id }: LocalConnection, { reason }: Reset): void {
    this.telemetry.connections.reset(reason, id);
  }

  onResetReached(connection: LocalConnection, reset: Reset): void {
    this.resetHooks.run(connection, reset);
  }

  onClosed(connection: LocalConnection): void {
    this.#departing.delete(connection);
    if (this.#departing.size > 0) return;
    for (const resolve of this.#onDeparted.splice(0)) resolve();
  }

  /** Resolves when every stopped connection has closed; those that have not within `timeout` milliseconds are cut. */
  async departed(timeout: number): Promise<void> {
    if (this.#departing.size > 0) {
      const all = new Promise<void>(resolve => this.#onDeparted.push(resolve));
      await withTimeout(all, timeout, () => undefined);
    }
    this.cutDeparting();
  }

  /** Cuts every stopped connection whose socket has not taken its last bytes. */
  cutDeparting(): void {
    for (const connection of [...this.#departing]) connection.cut('shutdown');
  }

  /**
   * The registration of a connection failed, and may have been carried out all the same. The connection may register again,
   * so its route is released with its end: what is released is refused from then on.
   */
  noteUnanswered(connection: LocalConnection): void {
    if (isEnded(connection.state)) this.releaseRoute(connection);
    else this.#unanswered.add(connection);
  }

  /** Removes a connection's route in the background. A failure is repaired by its expiry. */
  releaseRoute(connection: LocalConnection): void {
    const { id: connectionId, token } = connection;
    this.cluster.routes.unregister(connectionId, token).catch((error: unknown) => {
      this.logger.warn('a route could not be released; it expires by itself', { connectionId, error });
    });
  }

  /** Stops every timer of this node, and what it reports. */
  stop(): void {
    this.#maintenance?.stop();
    this.#unobserve();
    this.confirmations?.stop();
    this.environment.wheel?.stop();
    this.environment.watchdog.stop();
    this.environment.memories.stop();
  }
}

/** The settings, services and counts that the connections of a node share. */
function environmentOf(node: SseNode): ConnectionEnvironment {
  const { options, encoder, logger, telemetry } = node;
  const { connection, sendBuffer } = options;
  return {
    nodeId: options.node.id,
    maxBytes: sendBuffer.maxBytes,
    policy: sendBuffer.policy,
    budget: new SendBufferBudget(sendBuffer.maxTotalBytes),
    scheduler: new WriteScheduler(sendBuffer.slice),
    turns: new TurnBudget(sendBuffer.slice),
    watchdog: new Watchdog(connection.timeout, connection.maxAge),
    wheel: connection.heartbeat === false ? undefined : new HeartbeatWheel(connection.heartbeat),
    encoder,
    observer: node,
    logger,
    events: telemetry.events,
    traffic: telemetry.traffic,
    messageIds: new MessageIds(),
    memories: new MessageMemories(),
    reconnect: options.reconnect,
  };
}

/** The audit records of one node. */
export class AuditTrail implements Audit {
  constructor(
    private readonly nodeId: string,
    private readonly logger: Logger,
    private readonly listener: AuditListener | undefined,
  ) {}

  get on(): boolean {
    return this.listener !== undefined;
  }

  record(event: AuditEvent): void {
    try {
      this.listener?.({ ...event, at: Date.now(), nodeId: this.nodeId });
    } catch (error) {
      this.logger.error('onAudit must not throw; the record is lost', { kind: event.kind, error });
    }
  }

  refused(subject: AuditSubject, error: unknown): void {
    const code = SseError.is(error) ? error.code : 'INTERNAL';
    const limit = SseError.is(error) ? error.limit : undefined;
    const facts = { ...subject, code, status: SseError.is(error) ? error.status : statusOf(error) };
    this.record(limit === undefined ? { kind: 'refuse', ...facts } : { kind: 'limit', ...facts, limit });
  }
}

/** Milliseconds that a replay waits for a hook. */
const HOOK_MS = 10_000;

/** The hook of one connection. */
interface OwnHook {
  readonly hook: ResetHook;
  /** The asynchronous context of the request that connected. */
  readonly scope: AsyncResource;
  running: boolean;
  /** The resets that the client got while the hook ran. */
  next: Reset | undefined;
}

/** The hooks that applications set for clients that miss entries. A failure of a hook is logged; the stream goes on. */
class ResetHooks {
  readonly #hooks = new WeakMap<LocalConnection, OwnHook>();

  constructor(
    private readonly logger: Logger,
    private readonly telemetry: Pick<Telemetry['connections'], 'handling'>,
  ) {}

  /** Sets the hook of a connection, which runs in the present asynchronous context. */
  set(connection: LocalConnection, hook: ResetHook): void {
    const scope = new AsyncResource('distributed-sse.onReset');
    this.#hooks.set(connection, { hook, scope, running: false, next: undefined });
  }

  /** Runs the hook of an open connection whose client has taken `sse.reset`; never twice at the same time. */
  run(connection: LocalConnection, reset: Reset): void {
    const own = this.#hooks.get(connection);
    if (own === undefined) return;
    if (own.running) own.next = joinResets(own.next, reset);
    else void this.#runAll(own, connection, reset);
  }

  async #runAll(own: OwnHook, connection: LocalConnection, first: Reset): Promise<void> {
    own.running = true;
    for (let reset: Reset | undefined = first; reset !== undefined; reset = own.next) {
      own.next = undefined;
      if (connection.state.kind !== 'open') break;
      const due = reset;
      await own.scope.runInAsyncScope(() =>
        this.telemetry.handling(connection, () => this.#run(own.hook, connection, due)),
      );
    }
    own.running = false;
  }

  /** Runs the hook of a connection during its replay, and waits for the hook up to 10 s. */
  async replaying(connection: LocalConnection, reset: Reset, send: ResetClient['send']): Promise<void> {
    const own = this.#hooks.get(connection);
    if (own === undefined) return;
    const { id, topics } = connection;
    const running = own.scope.runInAsyncScope(() => this.#run(own.hook, { id, topics, send }, reset));
    await withTimeout(running, HOOK_MS, () => {
      this.#report(id, new SseError('INTERNAL', `onReset must settle within ${HOOK_MS} ms`));
    });
  }

  async #run(hook: ResetHook, client: ResetClient, reset: Reset): Promise<void> {
    try {
      await hook(client, reset);
    } catch (error) {
      this.#report(client.id, error);
    }
  }

  #report(connectionId: string, error: unknown): void {
    this.logger.error('an onReset hook failed; the stream goes on without', { connectionId, error });
  }
}
