import type {
  ClusterCoordinator,
  ClusterListener,
  ConsistencyReport,
  ConsistencyRequest,
  CoordinatorStatus,
  LeakProbe,
  Message,
  NodeInfo,
  Presence,
  Publication,
  PublicationResult,
  Registration,
  RegistrationResult,
  ReplayPage,
  ReplayRequest,
  Route,
} from '../../contracts/cluster.js';
import type { CloseReason } from '../../contracts/connection.js';
import type { Cursor, Position, SendResult } from '../../contracts/events.js';
import type { Logger } from '../../contracts/logger.js';
import type { MaintenanceTelemetry } from '../../contracts/telemetry.js';
import { SseError } from '../../errors.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { type Command, newIncarnation, nodeIdOf } from './frames.js';
import { RedisGateway } from './gateway.js';
import { clusterProbes, memberStatus, RedisMember } from './member.js';
import { plainCommands } from './plain.js';
import { lockScript } from './scripts.js';

type State =
  | { readonly is: 'new' }
  | {
      readonly is: 'joining' | 'joined';
      readonly member: RedisMember;
      readonly joining: Promise<void>;
    }
  | { readonly is: 'closed' };

/**
 * Nodes that meet in Redis: a single one, one behind Sentinels, or a Redis Cluster.
 *
 * `start` resolves once this node has joined, or once it is known that Redis cannot be reached; joining then goes on in
 * the background, and until it is done every other call fails as in an outage.
 */
export class RedisCoordinator implements ClusterCoordinator {
  readonly kind = 'redis';
  readonly #gateway: RedisGateway;
  #state: State = { is: 'new' };

  /** @throws SseError `INVALID_OPTION` for Redis settings that cannot work */
  constructor(
    private readonly options: ResolvedSseOptions,
    private readonly logger: Logger,
    private readonly telemetry: MaintenanceTelemetry,
  ) {
    this.#gateway = new RedisGateway({
      redis: options.redis,
      scriptCache: options.script.scriptCacheEnabled,
      plain: plainCommands(options.atomicOperation),
      events: {
        onReachable: reachable => {
          this.#member?.onReachable(reachable);
        },
        onError: error => {
          this.#member?.onError(error);
        },
        onCommand: (command, ms, error) => {
          telemetry.commanded(command, ms, error);
        },
      },
    });
  }

  async start(listener: ClusterListener): Promise<void> {
    if (this.#state.is === 'closed') throw closed();
    if (this.#state.is === 'new') {
      const { options, logger, telemetry } = this;
      const nodeId = options.node.id;
      const inc = newIncarnation(nodeId);
      const gateway = this.#gateway;
      const member = new RedisMember({
        nodeId,
        inc,
        options,
        gateway,
        listener,
        logger,
        telemetry,
      });
      this.#state = { is: 'joining', member, joining: member.join() };
    }
    const { member, joining } = this.#state;
    try {
      await joining;
      if (this.#state.is === 'joining') this.#state = { is: 'joined', member, joining };
    } catch (error) {
      // What no trying on cures. The caller may close it, or try again after a change of the Redis.
      if (this.#state.is === 'joining') this.#state = { is: 'new' };
      await member.leave();
      throw error;
    }
  }

  async close(): Promise<void> {
    const member = this.#member;
    this.#state = { is: 'closed' };
    await member?.leave();
    await this.#gateway.close();
  }

  status(): CoordinatorStatus {
    const member = this.#member;
    if (member !== undefined) return memberStatus(member);
    return { reachable: false, detail: `the coordinator is ${this.#state.is}` };
  }

  async register(registration: Registration): Promise<RegistrationResult> {
    return this.#reach().registry.register(registration);
  }

  async unregister(connectionId: string, token: string): Promise<boolean> {
    return this.#reach().registry.unregister(connectionId, token);
  }

  async releaseRoutes(): Promise<void> {
    await this.#reach().leases.release(true);
  }

  async locate(connectionId: string): Promise<Route | undefined> {
    return this.#reach().registry.locate(connectionId);
  }

  async count(): Promise<number> {
    return this.#reach().registry.count();
  }

  async nodes(): Promise<readonly NodeInfo[]> {
    return this.#reach().registry.nodes();
  }

  async send(message: Message): Promise<SendResult> {
    if (this.#state.is === 'closed') throw closed();
    const member = this.#member;
    if (member?.obstacle() !== undefined || member === undefined) return { outcome: 'unavailable' };
    return member.router.send(message);
  }

  async publish(publication: Publication): Promise<PublicationResult> {
    return this.#reach().writer.publish(publication);
  }

  async listen(topics: Iterable<string>): Promise<void> {
    await this.#reach().feed.listen(topics);
  }

  unlisten(topics: Iterable<string>): void {
    this.#member?.feed.unlisten(topics);
  }

  async replay(request: ReplayRequest): Promise<ReplayPage> {
    return this.#reach().reader.replay(request);
  }

  position(): Cursor | undefined {
    return this.#member?.feed.position;
  }

  async confirm(connectionId: string, position: Position): Promise<SendResult | undefined> {
    const { bus, registry } = this.#reach();
    const route = await registry.find(connectionId);
    if (route === undefined) return undefined;
    const { ms, sequence } = position;
    const answer = await bus.ask(route.inc, { t: 'confirm', connectionId, ms, sequence });
    return answer === 'delivered' || answer === 'buffered'
      ? { outcome: answer, nodeId: nodeIdOf(route.inc) }
      : undefined;
  }

  async claim(name: string, holder: string, ms: number): Promise<string | undefined> {
    this.#reach();
    const lock = this.#gateway.keys.lock(name);
    const reply = await this.#gateway.run(lockScript, { lock, holder, ms });
    return reply.status === 'HELD' ? reply.holder : undefined;
  }

  leakProbes(): readonly LeakProbe[] {
    return clusterProbes(() => this.#member);
  }

  async check(request: ConsistencyRequest): Promise<ConsistencyReport> {
    return this.#reach().reconcile(request);
  }

  async closeConnection(connectionId: string, reason: CloseReason): Promise<boolean> {
    return this.#ask(connectionId, { t: 'close', connectionId, reason });
  }

  async closeAllConnections(reason: CloseReason): Promise<void> {
    const { bus, nodes } = this.#reach();
    const { missing } = await bus.askAll(await nodes.incarnations(), { t: 'closeAll', reason });
    if (missing.length === 0) return;
    this.logger.warn('some nodes did not say that they closed their connections', {
      nodes: missing.map(nodeIdOf),
    });
  }

  async subscribe(connectionId: string, topic: string): Promise<boolean> {
    return this.#ask(connectionId, { t: 'subscribe', connectionId, topic });
  }

  async unsubscribe(connectionId: string, topic: string): Promise<boolean> {
    return this.#ask(connectionId, { t: 'unsubscribe', connectionId, topic });
  }

  async presence(topic: string): Promise<Presence> {
    const { bus, nodes } = this.#reach();
    const incs = await nodes.incarnations();
    const { answered, missing } = await bus.askAll(incs, { t: 'presence', topic });
    const connections = [...answered].flatMap(([inc, parts]) =>
      parts
        .flatMap(part => (Array.isArray(part) ? part : []))
        .map(connectionId => ({ connectionId, nodeId: nodeIdOf(inc) })),
    );
    return { connections, missing: missing.map(nodeIdOf) };
  }

  /** Asks the owner of a connection, wherever it is. */
  async #ask(connectionId: string, command: Command): Promise<boolean> {
    const { bus, registry } = this.#reach();
    const route = await registry.find(connectionId);
    return route !== undefined && (await bus.ask(route.inc, command)) === true;
  }

  get #member(): RedisMember | undefined {
    return 'member' in this.#state ? this.#state.member : undefined;
  }

  #reach(): RedisMember {
    if (this.#state.is === 'closed') throw closed();
    const member = this.#member;
    const obstacle = member === undefined ? 'it was not started' : member.obstacle();
    if (member !== undefined && obstacle === undefined) return member;
    throw new SseError(
      'UNAVAILABLE',
      `the cluster cannot be reached: ${obstacle ?? ''}; try again later`,
    );
  }
}

function closed(): SseError {
  return new SseError('CLOSED', 'the coordinator was closed; make a new container');
}
