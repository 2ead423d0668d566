import type {
  ClusterCoordinator,
  CoordinatorStatus,
  EventLog,
  Locks,
  Message,
  NodeMessenger,
  Presence,
  Route,
  RouteRegistry,
} from '../../contracts/cluster.js';
import type { CommandReceipt, SendResult } from '../../contracts/events.js';
import type { ClusterListener, RememberedOutcome } from '../../contracts/listener.js';
import type { SelfCheck } from '../../contracts/self-check.js';
import { SseError } from '../../errors.js';
import { carriedTrace } from '../../protocol/names.js';
import { certainOutcome, closedCoordinator, rejection, unreachable } from '../guarded-cluster.js';
import { MemoryBus } from './bus.js';
import type { TakeoverLimit } from './routes.js';

/** The coordinator of one process: a node on a {@link MemoryBus}, by default its own and alone there. */
export class LocalCoordinator implements ClusterCoordinator {
  readonly kind = 'local';
  #state: 'new' | 'started' | 'closed' = 'new';

  constructor(
    private readonly nodeId: string,
    private readonly takeovers: TakeoverLimit,
    private readonly bus: MemoryBus = new MemoryBus(),
  ) {}

  readonly routes: RouteRegistry = {
    register: async registration => this.#reachBus().register(this.nodeId, registration, this.takeovers),
    unregister: async (connectionId, token) => this.#reachBus().unregister(this.nodeId, connectionId, token),
    releaseAll: async () => this.#reachBus().releaseRoutes(this.nodeId),
    locate: async connectionId => this.#locate(connectionId),
    count: async () => this.#reachBus().count,
    nodes: async () => this.#reachBus().nodes(this.nodeId),
  };

  readonly log: EventLog = {
    publish: async publication => this.#reachBus().publish(publication),
    replay: async request => this.#reachBus().replay(request),
    // A node of a bus gets every publication, so it has no subscriptions to begin or end.
    subscribe: async () => void this.#reachBus(),
    unsubscribe: () => undefined,
    forget: async topic => this.#reachBus().log.forget(topic),
    kept: async topic => this.#reachBus().log.kept(topic),
    remember: async change => this.#reachBus().remembered.remember(change, this.bus.log.head),
    recall: async (connectionId, ttl) => this.#reachBus().remembered.recall(connectionId, ttl),
    position: () => (this.status().reachable ? this.bus.log.head : undefined),
    lastPosition: () => this.bus.lastPosition(this.nodeId),
  };

  readonly messenger: NodeMessenger = {
    send: async message => this.#send(message),
    close: async (connectionId, reason, trace) => {
      const { owner, nodeId } = this.#owner(connectionId);
      if (nodeId === undefined) return { closed: 0, missing: [] };
      if (owner === undefined) return { closed: 0, missing: [nodeId] };
      return { closed: owner.onClose(connectionId, reason, carriedTrace(trace)), missing: [] };
    },
    closeAll: async (reason, trace) =>
      this.#reachBus().closeBy(listener => listener.onCloseAll(reason, carriedTrace(trace))),
    revoke: async (revocation, trace) => this.#reachBus().revoke(revocation, carriedTrace(trace)),
    subscribe: (connectionId, topic) => this.#command(connectionId, owner => owner.onSubscribe(connectionId, topic)),
    unsubscribe: (connectionId, topic) =>
      this.#command(connectionId, owner => owner.onUnsubscribe(connectionId, topic)),
    outcomeOf: async ({ connectionId, messageId, nodeId, age }) => {
      const answers = new Map<string, RememberedOutcome>();
      for (const [id, listener] of this.#reachBus().listeners()) {
        answers.set(id, listener?.onOutcomeOf(connectionId, messageId, age) ?? 'unknown');
      }
      return certainOutcome(answers, nodeId);
    },
    endSource: async key => {
      let isMissing = false;
      for (const [, listener] of this.#reachBus().listeners()) {
        if (listener === undefined) isMissing = true;
        else if (await listener.onEndSource(key)) return { outcome: 'delivered' };
      }
      return { outcome: isMissing ? 'unknown' : 'not-connected' };
    },
    presence: async topic => this.#presence(topic),
    hasReached: async (connectionId, position) => {
      const route = this.#reachBus().route(connectionId);
      const owner = route && this.bus.reach(route.nodeId);
      const outcome = await owner?.hasReached(connectionId, position);
      return route && outcome && { outcome, nodeId: route.nodeId };
    },
    confirm: async report => {
      const { owner, nodeId } = this.#owner(report.connectionId);
      if (nodeId === undefined) return { outcome: 'not-connected' };
      return owner?.onConfirm(report) ?? { outcome: 'unknown' };
    },
    isConfirmed: async (connectionId, messageId, ms) => {
      const { owner, nodeId } = this.#owner(connectionId);
      const confirmed = await owner?.isConfirmed(connectionId, messageId, ms);
      return nodeId !== undefined && confirmed === true ? { outcome: 'confirmed', nodeId } : undefined;
    },
  };

  readonly locks: Locks = {
    acquireLock: async (name, holder, ms) => this.#reachBus().acquireLock(name, holder, ms),
    releaseLock: async (name, holder) => this.#reachBus().releaseLock(name, holder),
    lockHolder: async name => this.#reachBus().lockHolder(name),
  };

  readonly selfCheck: SelfCheck = {
    reconcile: async request => this.#reachBus().reconcile(this.nodeId, request),
    // The bus has all of its state.
    leakProbes: () => [],
  };

  async start(listener: ClusterListener): Promise<void> {
    if (this.#state === 'closed') throw closedCoordinator();
    if (this.#state === 'started') return;
    this.bus.join(this.nodeId, listener);
    this.#state = 'started';
  }

  async close(): Promise<void> {
    if (this.#state === 'started') this.bus.leave(this.nodeId);
    this.#state = 'closed';
  }

  status(): CoordinatorStatus {
    if (this.#state !== 'started') return { reachable: false, detail: `the coordinator is ${this.#state}` };
    if (this.bus.isCut(this.nodeId)) return { reachable: false, detail: 'cut off from the bus' };
    return { reachable: true };
  }

  #locate(connectionId: string): Route | undefined {
    const route = this.#reachBus().route(connectionId);
    if (route === undefined) return undefined;
    const { nodeId, fencingToken, user } = route;
    return { connectionId, nodeId, fencingToken, ...(user === undefined ? {} : { user }) };
  }

  async #send(message: Message): Promise<SendResult> {
    if (this.#state === 'closed') throw closedCoordinator();
    if (!this.status().reachable) return { outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' };
    const route = this.bus.route(message.connectionId);
    if (route === undefined) return { outcome: 'not-connected' };
    const known = message.named === true ? this.bus.recognize(message, route) : undefined;
    if (known !== undefined) return known;
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

  /** The owner's answer does not come: a node that is cut off may or may not have got the message before. */
  async #unanswered(message: Message, route: Route): Promise<SendResult> {
    if (message.ack === 'none') return { outcome: 'routed', nodeId: route.nodeId };
    await new Promise(resolve => setTimeout(resolve, message.deadline));
    return { outcome: 'unknown', nodeId: route.nodeId };
  }

  #presence(topic: string): Presence {
    const connections: { connectionId: string; nodeId: string }[] = [];
    const missing: string[] = [];
    for (const [nodeId, listener] of this.#reachBus().listeners()) {
      if (listener === undefined) missing.push(nodeId);
      else for (const connectionId of listener.onPresence(topic)) connections.push({ connectionId, nodeId });
    }
    return { connections, missing };
  }

  async #command(
    connectionId: string,
    carryOut: (owner: ClusterListener) => Promise<boolean>,
  ): Promise<CommandReceipt> {
    const { owner, nodeId } = this.#owner(connectionId);
    if (nodeId === undefined) return { outcome: 'not-connected' };
    if (owner === undefined) return { outcome: 'unknown' };
    try {
      return { outcome: (await carryOut(owner)) ? 'delivered' : 'not-connected' };
    } catch (error) {
      const rejected = SseError.is(error) ? rejection(error.code) : undefined;
      if (rejected !== undefined) return rejected;
      throw error;
    }
  }

  /** The node that has the connection, if any, and its listener unless it is cut off. */
  #owner(connectionId: string): { readonly nodeId?: string; readonly owner?: ClusterListener | undefined } {
    const bus = this.#reachBus();
    const route = bus.route(connectionId);
    return route === undefined ? {} : { nodeId: route.nodeId, owner: bus.reach(route.nodeId) };
  }

  #reachBus(): MemoryBus {
    if (this.#state === 'closed') throw closedCoordinator();
    const { reachable, detail } = this.status();
    if (!reachable) throw unreachable(detail ?? 'not reachable');
    return this.bus;
  }
}
