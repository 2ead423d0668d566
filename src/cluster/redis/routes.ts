import type { NodeInfo, Registered, Registration, RegistrationResult, Route } from '../../contracts/cluster.js';
import { SseError } from '../../errors.js';
import type { ClusterNode } from './cluster-node.js';
import { nodeIdOf } from './frames.js';
import { type Partition, publishCommand } from './keys.js';
import { routeTimes, type NodeLeases } from './leases.js';
import {
  countScript,
  type RegisterReply,
  type RegisterRequest,
  registerScript,
  type ResolvedRoute,
  resolveScript,
  unregisterScript,
} from './scripts.js';

/** Longer than any registration that may still be under way. */
const TOMBSTONE_MS = 60_000;
const LEASE_TRIES = 3;

/** The routes of all nodes, as this node changes and reads them. */
export class RedisRoutes {
  // Registrations without an answer, oldest first, with the time of that: they may arrive after the connection has ended.
  readonly #doubtful = new Map<string, number>();

  constructor(
    private readonly node: ClusterNode,
    private readonly leases: NodeLeases,
  ) {}

  /** Registrations without an answer that may still arrive. */
  get doubtful(): number {
    return this.#doubtful.size;
  }

  async register(registration: Registration): Promise<RegistrationResult> {
    const mode = registration.onDuplicate === 'takeover' ? 'take' : 'nx';
    const reply = await this.#register(registration, mode);
    switch (reply.status) {
      case 'NEW':
      case 'TOOK':
      case 'DUP':
        return { outcome: 'registered', fencingToken: reply.fencingToken };
      case 'STORM':
        return { outcome: 'storm' };
      case 'EXISTS':
      case 'MOVED':
      case 'STALE':
        return { outcome: 'exists', nodeId: nodeIdOf(reply.ownerInc) };
      case 'GONE':
      case 'LOST':
        throw lost(reply.status);
    }
  }

  /**
   * Registers a connection of this node again, without taking the id from a live owner. Returns whether the connection owns
   * its id now.
   * @throws SseError
   */
  async restore(registered: Registered): Promise<boolean> {
    const { status } = await this.#register(registered, 'restore');
    // A lost lease says nothing about the owner of the id.
    if (status === 'LOST') throw lost(status);
    return status === 'NEW' || status === 'TOOK' || status === 'DUP';
  }

  async unregister(connectionId: string, token: string): Promise<boolean> {
    const { gateway, inc } = this.node;
    const partition = gateway.keys.partitionOf(connectionId);
    const { status } = await gateway.run(unregisterScript, {
      partition,
      tombstone: gateway.keys.tombstone(partition, inc, token),
      inc,
      conn: connectionId,
      tok: token,
      tombstoneMs: this.#doubtful.has(token) ? TOMBSTONE_MS : 0,
    });
    this.#doubtful.delete(token);
    return status === 'REMOVED';
  }

  /** The live route of a connection id, with the incarnation of its owner. */
  async find(connectionId: string): Promise<ResolvedRoute | undefined> {
    const { gateway } = this.node;
    const partition = gateway.keys.partitionOf(connectionId);
    const reply = await gateway.run(resolveScript, { partition, conns: [connectionId] });
    const route = reply.status === 'OK' ? reply.routes[0] : undefined;
    return route?.live === true ? route : undefined;
  }

  async locate(connectionId: string): Promise<Route | undefined> {
    const route = await this.find(connectionId);
    if (route === undefined) return undefined;
    const { inc, fencingToken, user } = route;
    return { connectionId, nodeId: nodeIdOf(inc), fencingToken, ...(user !== '' && { user }) };
  }

  async count(): Promise<number> {
    const counts = await this.#counts();
    return counts.reduce((sum, { live }) => sum + live, 0);
  }

  async nodes(): Promise<readonly NodeInfo[]> {
    const routes = new Map<string, number>();
    for (const { nodes } of await this.#counts()) {
      for (const { inc, routes: some } of nodes) {
        const nodeId = nodeIdOf(inc);
        routes.set(nodeId, (routes.get(nodeId) ?? 0) + some);
      }
    }
    return [...routes]
      .map(([nodeId, connections]) => ({
        nodeId,
        connections,
        self: nodeId === this.node.nodeId,
      }))
      .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  }

  #counts() {
    const { gateway } = this.node;
    return Promise.all(gateway.keys.partitions.map(partition => gateway.run(countScript, { partition })));
  }

  async #register(registered: Registered, mode: RegisterRequest['mode']): Promise<RegisterReply> {
    const { gateway, signer } = this.node;
    const partition = gateway.keys.partitionOf(registered.connectionId);
    for (let tries = 1; ; tries += 1) {
      const request = this.#request(partition, registered, mode);
      let reply: RegisterReply;
      signer.registered(registered.token);
      try {
        reply = await gateway.run(registerScript, request);
      } catch (error) {
        this.#doubt(registered.token);
        throw error;
      }
      if (reply.status === 'NEW' || reply.status === 'TOOK') signer.registered(registered.token, reply.now);
      if (reply.status !== 'LOST' || tries === LEASE_TRIES) return reply;
      await this.leases.reopen(partition);
    }
  }

  #doubt(token: string): void {
    const now = performance.now();
    for (const [old, since] of this.#doubtful) {
      if (now - since <= TOMBSTONE_MS) break;
      this.#doubtful.delete(old);
    }
    this.#doubtful.delete(token);
    this.#doubtful.set(token, now);
  }

  #request(
    partition: Partition,
    { connectionId: conn, token: tok, user }: Registered,
    mode: RegisterRequest['mode'],
  ): RegisterRequest {
    const { gateway, inc, options } = this.node;
    const { takeoverLimit, takeoverWindow } = options.connection;
    return {
      partition,
      tombstone: gateway.keys.tombstone(partition, inc, tok),
      inc,
      gen: this.leases.generation(partition),
      conn,
      tok,
      user,
      mode,
      ...routeTimes(options),
      takeoverLimit,
      takeoverWindow,
      pubCommand: publishCommand(gateway.keys.nodeMode),
    };
  }
}

function lost(status: 'GONE' | 'LOST'): SseError {
  return new SseError('UNAVAILABLE', `a registration must keep its lease, got ${status}; connect again`);
}
