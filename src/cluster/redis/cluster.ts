import type {
  ClusterCoordinator,
  CoordinatorStatus,
  EventLog,
  Locks,
  Message,
  NodeMessenger,
  RouteRegistry,
} from '../../contracts/cluster.js';
import type { SendResult } from '../../contracts/events.js';
import type { ClusterListener } from '../../contracts/listener.js';
import type { Logger } from '../../contracts/logger.js';
import type { SelfCheck } from '../../contracts/self-check.js';
import type { MaintenanceTelemetry } from '../../contracts/telemetry.js';
import { SseError } from '../../errors.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { closedCoordinator, unreachable } from '../guarded-cluster.js';
import { checkAddress, loadClass, type RedisClass } from './client.js';
import { newIncarnation } from './frames.js';
import { RedisGateway } from './gateway.js';
import { clusterProbes, JoinedNode, statusOf } from './joined-node.js';
import { plainCommands } from './plain.js';
import { lockScript } from './scripts.js';
import { FrameSigner, RedisClock } from './signing.js';

type State =
  | { readonly kind: 'new' }
  | {
      readonly kind: 'joining' | 'joined';
      readonly node: JoinedNode;
      readonly joining: Promise<void>;
    }
  | { readonly kind: 'closed' };

/** What calls of a node go through. */
interface Gateways {
  readonly gateway: RedisGateway;
  /** Reads the log on a connection of its own. */
  readonly reading: RedisGateway;
}

/**
 * Nodes that meet in Redis: a single one, one behind Sentinels, or a Redis Cluster.
 *
 * `start` resolves once this node has joined, or once it is known that Redis cannot be reached; joining then goes on in
 * the background, and until it is done every other call fails as in an outage.
 */
export class RedisCoordinator implements ClusterCoordinator {
  readonly kind = 'redis';
  /** Set once the package ioredis was loaded. */
  #gateways: Gateways | undefined;
  #loading: Promise<Gateways> | undefined;
  #state: State = { kind: 'new' };

  readonly routes: RouteRegistry = {
    register: async registration => this.#reach(registration.connectionId).registry.register(registration),
    unregister: async (connectionId, token) => this.#reach(connectionId).registry.unregister(connectionId, token),
    releaseAll: async () => {
      await this.#reach().leases.release(true);
    },
    locate: async connectionId => this.#reach(connectionId).registry.locate(connectionId),
    count: async () => this.#reach().registry.count(),
    nodes: async () => this.#reach().registry.nodes(),
  };

  readonly log: EventLog = {
    publish: async publication => this.#reach().writer.publish(publication),
    replay: async request => this.#reach().reader.replay(request),
    subscribe: async topics => this.#reach().feed.subscribe(topics),
    unsubscribe: topics => this.#node?.feed.unsubscribe(topics),
    forget: async topic => this.#reach().writer.forget(topic),
    kept: async topic => this.#reach().writer.kept(topic),
    remember: async change => this.#reach().writer.remember(change),
    recall: async (connectionId, ttl) => this.#reach().writer.recall(connectionId, ttl),
    position: () => this.#node?.feed.position,
    lastPosition: () => this.#node?.feed.lastPosition,
  };

  readonly messenger: NodeMessenger = {
    send: message => this.#send(message),
    close: async (connectionId, reason, trace) => this.#reach(connectionId).commands.close(connectionId, reason, trace),
    closeAll: async (reason, trace) => this.#reach().commands.closeAll(reason, trace),
    revoke: async (revocation, trace) => this.#reach().commands.revoke(revocation, trace),
    subscribe: async (connectionId, topic) =>
      this.#reach(connectionId).commands.ownerCommand({ t: 'subscribe', connectionId, topic }),
    unsubscribe: async (connectionId, topic) =>
      this.#reach(connectionId).commands.ownerCommand({ t: 'unsubscribe', connectionId, topic }),
    presence: async topic => this.#reach().commands.presence(topic),
    outcomeOf: async message => this.#reach().commands.outcomeOf(message),
    endSource: async key => this.#reach().commands.endSource(key),
    confirm: async report => this.#reach(report.connectionId).commands.ownerCommand({ t: 'confirm', ...report }),
    isConfirmed: async (connectionId, messageId, ms) =>
      this.#reach(connectionId).commands.isConfirmed(connectionId, messageId, ms),
    hasReached: async (connectionId, position) => this.#reach(connectionId).commands.hasReached(connectionId, position),
  };

  readonly locks: Locks = {
    acquireLock: async (name, holder, ms) => (await this.#lock(name, holder, ms)) === holder,
    releaseLock: async (name, holder) => {
      await this.#lock(name, holder, -1);
    },
    lockHolder: async name => this.#lock(name, '', 0),
  };

  readonly selfCheck: SelfCheck = {
    reconcile: async request => this.#reach().reconcile(request),
    leakProbes: () => clusterProbes(() => this.#node),
  };

  /** @throws SseError `INVALID_OPTION` for Redis settings that cannot work */
  constructor(
    private readonly options: ResolvedSseOptions,
    private readonly logger: Logger,
    private readonly telemetry: MaintenanceTelemetry,
  ) {
    checkAddress(options.redis);
  }

  /** Makes the gateways, once. A failure is that of loading ioredis, and the next call tries again. */
  #load(): Promise<Gateways> {
    this.#loading ??= loadClass(this.options.redis).then(
      redisClass => (this.#gateways = this.#makeGateways(redisClass)),
      (error: unknown) => {
        this.#loading = undefined;
        throw error;
      },
    );
    return this.#loading;
  }

  #makeGateways(redisClass: RedisClass | undefined): Gateways {
    const { options, telemetry } = this;
    const shared = {
      redis: { ...options.redis, class: redisClass },
      scriptCache: options.script.scriptCacheEnabled,
      quietly: <R>(work: () => R): R => telemetry.quietly(work),
    };
    const onCommand = (command: string, ms: number, error?: SseError): void => {
      telemetry.commanded(command, ms, error);
    };
    const reading: RedisGateway = new RedisGateway({
      ...shared,
      // The other gateway has the same account.
      checksAccount: false,
      events: {
        onCommand,
        onReachable: reachable => {
          if (!reachable) return;
          gateway.follow(reading);
          this.#node?.onReader();
        },
      },
    });
    const gateway = new RedisGateway({
      ...shared,
      plain: plainCommands(options.atomicOperation),
      events: {
        onReachable: reachable => {
          if (reachable) reading.follow(gateway);
          this.#node?.onReachable(reachable);
        },
        onError: error => {
          this.#node?.onError(error);
        },
        onCommand: (command, ms, error) => {
          onCommand(command, ms, error);
          if (error !== undefined && SseError.isRefusal(error)) this.#node?.leases.onRefusal();
        },
      },
    });
    return { gateway, reading };
  }

  async start(listener: ClusterListener): Promise<void> {
    this.#refuseClosed();
    const gateways = this.#gateways ?? (await this.#load());
    this.#refuseClosed();
    if (this.#state.kind !== 'joining' && this.#state.kind !== 'joined') {
      const { options, logger, telemetry } = this;
      const nodeId = options.node.id;
      const inc = newIncarnation(nodeId);
      const clock = new RedisClock();
      const node = new JoinedNode({
        nodeId,
        inc,
        options,
        ...gateways,
        clock,
        signer: new FrameSigner(inc, options.control, clock),
        listener,
        logger,
        telemetry,
      });
      this.#state = { kind: 'joining', node, joining: node.join() };
    }
    const { node, joining } = this.#state;
    try {
      await joining;
      if (this.#state.kind === 'joining') this.#state = { kind: 'joined', node, joining };
    } catch (error) {
      // Another try of this node cannot succeed. The caller may close, or start again after a change of the Redis.
      if (this.#state.kind === 'joining') this.#state = { kind: 'new' };
      await node.leave();
      throw error;
    }
  }

  async close(): Promise<void> {
    const node = this.#node;
    this.#state = { kind: 'closed' };
    await node?.leave();
    const gateways = await this.#loading?.catch(() => undefined);
    if (gateways !== undefined) await Promise.all([gateways.gateway.close(), gateways.reading.close()]);
  }

  status(connectionId?: string): CoordinatorStatus {
    const node = this.#node;
    if (node !== undefined) return statusOf(node, this.#partitionOf(connectionId));
    return { reachable: false, detail: `the coordinator is ${this.#state.kind}` };
  }

  #send(message: Message): Promise<SendResult> {
    if (this.#state.kind === 'closed') return Promise.reject(closedCoordinator());
    const node = this.#node;
    const partition = this.#partitionOf(message.connectionId);
    if (node === undefined || partition === undefined || node.leases.obstacle(partition) !== undefined) {
      return Promise.resolve({ outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' });
    }
    return node.router.send({ message, partition });
  }

  /** The holder of a lock, after `holder` asked for it for so many milliseconds. With 0 the lock does not change, with -1 it gives the lock up. */
  async #lock(name: string, holder: string, ms: number): Promise<string | undefined> {
    this.#reach();
    const { gateway } = await this.#load();
    const lock = gateway.keys.lock(name);
    const reply = await gateway.run(lockScript, { lock, holder, ms });
    return reply.status === 'HELD' ? reply.holder : undefined;
  }

  #refuseClosed(): void {
    if (this.#state.kind === 'closed') throw closedCoordinator();
  }

  #partitionOf(connectionId: string | undefined) {
    return connectionId === undefined ? undefined : this.#gateways?.gateway.keys.partitionOf(connectionId);
  }

  get #node(): JoinedNode | undefined {
    return 'node' in this.#state ? this.#state.node : undefined;
  }

  /** @param connectionId when only the partition of that id is asked */
  #reach(connectionId?: string): JoinedNode {
    this.#refuseClosed();
    const node = this.#node;
    const partition = this.#partitionOf(connectionId);
    const obstacle = node === undefined ? 'it was not started' : node.leases.obstacle(partition);
    if (node !== undefined && obstacle === undefined) return node;
    throw unreachable(obstacle ?? '');
  }
}
