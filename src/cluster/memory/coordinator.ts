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
import { SseError } from '../../errors.js';
import { carriedTrace } from '../../protocol/names.js';
import { MemoryBus, type TakeoverLimit } from './bus.js';

/** The coordinator of one process: a node on a {@link MemoryBus}, by default its own and alone there. */
export class LocalCoordinator implements ClusterCoordinator {
  readonly kind = 'local';
  #state: 'new' | 'started' | 'closed' = 'new';

  constructor(
    private readonly nodeId: string,
    private readonly takeovers: TakeoverLimit,
    private readonly bus: MemoryBus = new MemoryBus(),
  ) {}

  async start(listener: ClusterListener): Promise<void> {
    if (this.#state === 'closed') throw closed();
    if (this.#state === 'started') return;
    this.bus.join(this.nodeId, listener);
    this.#state = 'started';
  }

  async close(): Promise<void> {
    if (this.#state === 'started') this.bus.leave(this.nodeId);
    this.#state = 'closed';
  }

  status(): CoordinatorStatus {
    if (this.#state !== 'started')
      return { reachable: false, detail: `the coordinator is ${this.#state}` };
    if (this.bus.isCut(this.nodeId)) return { reachable: false, detail: 'cut off from the bus' };
    return { reachable: true };
  }

  async register(registration: Registration): Promise<RegistrationResult> {
    return this.#reachBus().register(this.nodeId, registration, this.takeovers);
  }

  async unregister(connectionId: string, token: string): Promise<boolean> {
    return this.#reachBus().unregister(this.nodeId, connectionId, token);
  }

  async releaseRoutes(): Promise<void> {
    this.#reachBus().releaseRoutes(this.nodeId);
  }

  async locate(connectionId: string): Promise<Route | undefined> {
    const route = this.#reachBus().route(connectionId);
    return route && { connectionId, nodeId: route.nodeId, fencingToken: route.fencingToken };
  }

  async count(): Promise<number> {
    return this.#reachBus().count;
  }

  async nodes(): Promise<readonly NodeInfo[]> {
    return this.#reachBus().nodes(this.nodeId);
  }

  async send(message: Message): Promise<SendResult> {
    if (this.#state === 'closed') throw closed();
    if (!this.status().reachable) return { outcome: 'unavailable' };
    const route = this.bus.route(message.connectionId);
    if (route === undefined) return { outcome: 'not-connected' };
    const owner = this.bus.reach(route.nodeId);
    if (owner === undefined) return this.#unanswered(message, route);
    const { connectionId, messageId, frame } = message;
    const trace = carriedTrace(message.trace);
    const delivery = owner.onMessage(connectionId, route.token, messageId, frame, trace);
    if (message.ack === 'none') return { outcome: 'routed', nodeId: route.nodeId };
    switch (delivery.outcome) {
      case 'delivered':
      case 'buffered':
        return { outcome: delivery.outcome, nodeId: route.nodeId };
      case 'not-connected':
        return { outcome: 'not-connected' };
      case 'rejected':
        return { outcome: 'rejected', code: delivery.code, nodeId: route.nodeId };
    }
  }

  async publish(publication: Publication): Promise<PublicationResult> {
    return this.#reachBus().publish(publication);
  }

  async listen(): Promise<void> {
    this.#reachBus();
  }

  unlisten(): void {
    // Every node of a bus is given every publication; there is no feed to end.
  }

  async replay(request: ReplayRequest): Promise<ReplayPage> {
    return this.#reachBus().log.replay(request);
  }

  position(): Cursor | undefined {
    return this.status().reachable ? this.bus.log.head : undefined;
  }

  async confirm(connectionId: string, position: Position): Promise<SendResult | undefined> {
    const route = this.#reachBus().route(connectionId);
    const owner = route && this.bus.reach(route.nodeId);
    const outcome = await owner?.onConfirm(connectionId, position);
    return route && outcome && { outcome, nodeId: route.nodeId };
  }

  async claim(name: string, holder: string, ms: number): Promise<string | undefined> {
    return this.#reachBus().claim(name, holder, ms);
  }

  leakProbes(): readonly LeakProbe[] {
    // All that it holds is the bus's.
    return [];
  }

  async check(request: ConsistencyRequest): Promise<ConsistencyReport> {
    return this.#reachBus().check(this.nodeId, request);
  }

  async closeConnection(connectionId: string, reason: CloseReason): Promise<boolean> {
    return this.#owner(connectionId)?.onClose(connectionId, reason) ?? false;
  }

  async closeAllConnections(reason: CloseReason): Promise<void> {
    for (const [, listener] of this.#reachBus().listeners()) listener?.onCloseAll(reason);
  }

  async subscribe(connectionId: string, topic: string): Promise<boolean> {
    return (await this.#owner(connectionId)?.onSubscribe(connectionId, topic)) ?? false;
  }

  async unsubscribe(connectionId: string, topic: string): Promise<boolean> {
    return this.#owner(connectionId)?.onUnsubscribe(connectionId, topic) ?? false;
  }

  async presence(topic: string): Promise<Presence> {
    const connections: { connectionId: string; nodeId: string }[] = [];
    const missing: string[] = [];
    for (const [nodeId, listener] of this.#reachBus().listeners()) {
      if (listener === undefined) missing.push(nodeId);
      else
        for (const connectionId of listener.onPresence(topic))
          connections.push({ connectionId, nodeId });
    }
    return { connections, missing };
  }

  /** The owner's answer does not come: a node that is cut off may or may not have got it before. */
  async #unanswered(message: Message, route: Route): Promise<SendResult> {
    if (message.ack === 'none') return { outcome: 'routed', nodeId: route.nodeId };
    await new Promise(resolve => setTimeout(resolve, message.deadline));
    return { outcome: 'unknown' };
  }

  #owner(connectionId: string): ClusterListener | undefined {
    const bus = this.#reachBus();
    const route = bus.route(connectionId);
    if (route === undefined) return undefined;
    const owner = bus.reach(route.nodeId);
    if (owner === undefined) throw unreachable(`node ${route.nodeId} does not answer`);
    return owner;
  }

  #reachBus(): MemoryBus {
    if (this.#state === 'closed') throw closed();
    const { reachable, detail } = this.status();
    if (!reachable) throw unreachable(detail ?? 'not reachable');
    return this.bus;
  }
}

function closed(): SseError {
  return new SseError('CLOSED', 'the coordinator was closed; make a new container');
}

function unreachable(detail: string): SseError {
  return new SseError('UNAVAILABLE', `the cluster cannot be reached: ${detail}; try again later`);
}
