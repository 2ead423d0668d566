import { ClientConnection } from '../connection/client-connection.js';
import {
  type ConnectionEnvironment,
  type ConnectionObserver,
  MessageIds,
} from '../connection/environment.js';
import { WriteScheduler } from '../connection/scheduler.js';
import { SendBufferBudget } from '../connection/send-buffer.js';
import { HeartbeatWheel, Watchdog } from '../connection/timers.js';
import type { ClusterCoordinator } from '../contracts/cluster.js';
import type { CloseReason, ConnectionSink, Reset } from '../contracts/connection.js';
import type { Logger } from '../contracts/logger.js';
import type { OperationKind, ResiliencePolicy } from '../contracts/policy.js';
import type { ConnectionStore, LocalConnection } from '../contracts/store.js';
import type { Telemetry } from '../contracts/telemetry.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { EventEncoder } from '../protocol/event-stream.js';
import type { ConsistencyCheck } from './consistency.js';
import { ResetHooks } from './reset-hooks.js';

/** The conclusions of the background comparison with the cluster. */
export type Consistency = Pick<ConsistencyCheck, 'trouble' | 'checkSoon'>;

/** The services a node is made of. */
export interface NodeServices {
  readonly options: ResolvedSseOptions;
  readonly store: ConnectionStore;
  readonly coordinator: ClusterCoordinator;
  readonly policy: ResiliencePolicy;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  /** Without it nothing is checked. */
  readonly consistency?: Consistency;
}

/** What the use cases of one node share: its services, what its connections share, and how connections are made and forgotten. */
export class SseNode implements ConnectionObserver {
  readonly environment: ConnectionEnvironment;
  readonly resetHooks: ResetHooks;
  readonly encoder: EventEncoder;
  readonly options: ResolvedSseOptions;
  readonly store: ConnectionStore;
  readonly coordinator: ClusterCoordinator;
  readonly policy: ResiliencePolicy;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly consistency: Consistency | undefined;
  /** Sends that wait for an answer of the cluster. */
  pendingSends = 0;
  readonly #unobserve: () => void;
  #ordinal = 0;
  #released: Promise<void> | undefined;
  // Stopped connections whose sockets still take their last bytes.
  readonly #departing = new Set<LocalConnection>();
  readonly #onDeparted = new Set<() => void>();

  constructor(services: NodeServices) {
    const { options, store, coordinator, policy, logger, telemetry } = services;
    this.consistency = services.consistency;
    this.options = options;
    this.store = store;
    this.coordinator = coordinator;
    this.policy = policy;
    this.logger = logger;
    this.telemetry = telemetry;
    this.resetHooks = new ResetHooks(logger, telemetry.connections);
    const { connection, sendBuffer, limits } = options;
    this.encoder = new EventEncoder(limits.maxEventBytes);
    this.environment = {
      nodeId: options.node.id,
      maxBytes: sendBuffer.maxBytes,
      policy: sendBuffer.policy,
      budget: new SendBufferBudget(sendBuffer.maxTotalBytes),
      scheduler: new WriteScheduler(sendBuffer.slice),
      watchdog: new Watchdog(connection.timeout, connection.maxAge),
      wheel: connection.heartbeat === false ? undefined : new HeartbeatWheel(connection.heartbeat),
      encoder: this.encoder,
      observer: this,
      logger,
      events: telemetry.events,
      traffic: telemetry.traffic,
      messageIds: new MessageIds(),
      reconnect: options.reconnect,
    };
    this.#unobserve = telemetry.observe({
      connections: () => store.size,
      sendBufferBytes: () => this.environment.budget.used,
      pendingSends: () => this.pendingSends,
      circuit: kind => policy.circuit(kind),
    });
  }

  /** A new connection in state `opening`, not stored yet. */
  createConnection(
    id: string,
    sink: ConnectionSink,
    lastEventId: string | undefined,
  ): ClientConnection {
    this.#ordinal += 1;
    return new ClientConnection(
      { id, ordinal: this.#ordinal, lastEventId },
      sink,
      this.environment,
    );
  }

  /** Whether the cluster has been told, once and for all, that this node's connections are not here any more. */
  get routesReleased(): boolean {
    return this.#released !== undefined;
  }

  /** Releases all routes of this node, once; connections that stop afterwards have none to release. Never rejects. */
  releaseRoutes(): Promise<void> {
    this.#released ??= this.policy
      .execute('maintenance', () => this.coordinator.routes.releaseAll())
      .catch((error: unknown) => {
        this.logger.warn('the routes could not be released; they expire', { error });
      });
    return this.#released;
  }

  /** Starts the node's feed of these topics; whoever called takes it back with the coordinator's `unlisten`. */
  listen(kind: OperationKind, topics: readonly string[]): Promise<void> {
    return this.policy.execute(kind, async context => {
      await this.coordinator.log.subscribe(topics);
      // The policy gave up before and told the caller so, who therefore will not take it back.
      if (context.signal.aborted) this.coordinator.log.unsubscribe(topics);
    });
  }

  onStopped(connection: LocalConnection, reason: CloseReason): void {
    this.telemetry.connections.stopped(connection, reason);
    this.store.remove(connection);
    this.#departing.add(connection);
    this.coordinator.log.unsubscribe(connection.topics);
    // A superseded connection has another token than the new owner, so that this changes nothing for the owner.
    if (connection.fencingToken !== undefined && !this.routesReleased)
      this.releaseRoute(connection);
  }

  onReset(connection: LocalConnection, reset: Reset): void {
    this.telemetry.connections.reset(reset.reason);
    this.resetHooks.onReset(connection, reset);
  }

  onClosed(connection: LocalConnection): void {
    this.#departing.delete(connection);
    if (this.#departing.size > 0) return;
    for (const resolve of this.#onDeparted) resolve();
  }

  /** Resolves when every stopped connection has closed; those that have not within `timeout` milliseconds are cut. */
  async departed(timeout: number): Promise<void> {
    if (this.#departing.size > 0) {
      await new Promise<void>(resolve => {
        const done = (): void => {
          clearTimeout(timer);
          this.#onDeparted.delete(done);
          resolve();
        };
        const timer = setTimeout(done, timeout);
        this.#onDeparted.add(done);
      });
    }
    for (const connection of [...this.#departing]) connection.cut('shutdown');
  }

  /** Removes a connection's route in the background. A failure is repaired by its expiry. */
  releaseRoute(connection: LocalConnection): void {
    this.policy
      .execute('register', () =>
        this.coordinator.routes.unregister(connection.id, connection.token),
      )
      .catch((error: unknown) => {
        this.logger.warn('a route could not be released; it expires by itself', {
          connectionId: connection.id,
          error,
        });
      });
  }

  /** Stops every timer of this node, and what it reports. */
  stop(): void {
    this.#unobserve();
    this.environment.wheel?.stop();
    this.environment.watchdog.stop();
  }
}
