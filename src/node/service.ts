import { GuardedCluster } from '../cluster/guarded-cluster.js';
import type { RevocationOptions, RevocationSelector } from '../contracts/authorization.js';
import type { NodeInfo, Presence } from '../contracts/cluster.js';
import type { CloseReason, ConnectionSink, SseConnection } from '../contracts/connection.js';
import type {
  BroadcastReceipt,
  CloseReceipt,
  CommandReceipt,
  FanOut,
  LocalReceipt,
  PublishReceipt,
  Receipt,
} from '../contracts/events.js';
import type {
  BroadcastOptions,
  ClusterSendOptions,
  ConnectionFilter,
  ConnectionInfo,
  ConnectionOptions,
  DrainOptions,
  Health,
  PublishOptions,
  SendOptions,
  SseService,
} from '../contracts/service.js';
import type { LocalConnection } from '../contracts/store.js';
import type { Command } from '../contracts/telemetry.js';
import { checkArguments } from '../options/arguments.js';
import { formatCursor } from '../protocol/cursor.js';
import {
  checkConnectionId,
  checkKey,
  checkReason,
  checkTopic,
  checkUser,
  isInternal,
  userOf,
  userTopic,
} from '../protocol/names.js';
import { Authorization } from './authorization.js';
import { reportIn } from './confirmations.js';
import { NodeShutdown } from './drain.js';
import { healthOf } from './health.js';
import { NodeListener } from './listener.js';
import { type NodeServices, SseNode } from './node.js';
import { ConnectionOpener } from './open.js';
import { LocalCopies, Publisher } from './publish.js';
import { Replayer } from './replay.js';
import { Revocations } from './revocations.js';
import { MessageSender } from './send.js';
import { ResumableSources } from './sources.js';
import { CLOSED, Subscriptions } from './subscriptions.js';
import { LockTickets } from './tickets.js';

/** The facade: each method checks its arguments and delegates to one use case. */
export class DistributedSseService implements SseService {
  /** Everything of this node, for its maintenance and the console. */
  readonly node: SseNode;
  readonly #listener: NodeListener;
  readonly #subscriptions: Subscriptions;
  readonly #revocations: Revocations;
  readonly sources: ResumableSources;
  readonly #opener: ConnectionOpener;
  readonly #sender: MessageSender;
  readonly #publisher: Publisher;
  readonly #shutdown: NodeShutdown;
  readonly tickets: LockTickets;

  constructor(services: NodeServices) {
    const { coordinator, policy, logger } = services;
    const report = (error: unknown): void => {
      logger.error('a call to the cluster failed; its receipt says what is certain', { error });
    };
    const cluster = new GuardedCluster(coordinator, policy, () => this.#listener, report);
    const node = new SseNode(services, cluster);
    const authorization = new Authorization(node, services.authorizer);
    const subscriptions = new Subscriptions(node, authorization, (...state) => this.#revocations.isRevoked(...state));
    this.#revocations = new Revocations(node, subscriptions);
    const sources = new ResumableSources(node);
    this.node = node;
    this.#subscriptions = subscriptions;
    this.sources = sources;
    const copies = new LocalCopies();
    this.#listener = new NodeListener(node, subscriptions, this.#revocations, sources, copies);
    this.#opener = new ConnectionOpener(
      node,
      subscriptions,
      authorization,
      this.#revocations,
      sources,
      new Replayer(node),
    );
    this.#sender = new MessageSender(node);
    this.#publisher = new Publisher(node, copies);
    this.#shutdown = new NodeShutdown(node, sources);
    this.tickets = new LockTickets(cluster.locks);
  }

  get nodeId(): string {
    return this.node.options.node.id;
  }

  createConnection(
    connectionId: string,
    sink: ConnectionSink,
    options: ConnectionOptions = {},
  ): Promise<SseConnection> {
    const opening = this.#open(connectionId, sink, options);
    // A client that leaves early ends no process whose code does not wait. Telemetry and the audit record each refusal.
    opening.catch(() => undefined);
    return opening;
  }

  async #open(connectionId: string, sink: ConnectionSink, options: ConnectionOptions): Promise<SseConnection> {
    checkArguments('createConnection', options);
    return this.#opener.open(connectionId, sink, options);
  }

  sendMessage(connectionId: string, event: string, data: unknown, options: SendOptions = {}): LocalReceipt {
    checkArguments('sendMessage', options);
    return this.#sender.sendLocal(connectionId, event, data, options);
  }

  broadcast(event: string, data: unknown, options: BroadcastOptions = {}): FanOut {
    checkArguments('broadcast', options);
    return this.#publisher.broadcast(event, data, options);
  }

  async sendMessageToConnection(
    connectionId: string,
    event: string,
    data: unknown,
    options: ClusterSendOptions = {},
  ): Promise<Receipt> {
    checkArguments('sendMessageToConnection', options);
    return this.#sender.send(connectionId, event, data, options);
  }

  async broadcastToCluster(event: string, data: unknown, options: PublishOptions = {}): Promise<BroadcastReceipt> {
    checkArguments('broadcastToCluster', options);
    return this.#publisher.broadcastToCluster(event, data, options);
  }

  async closeConnection(connectionId: string, reason: CloseReason = 'closed'): Promise<CloseReceipt> {
    checkConnectionId(connectionId);
    checkReason(reason);
    if (this.node.closed) return CLOSED_NOTHING;
    const closed = this.#listener.onClose(connectionId, reason);
    if (closed > 0) return { closed, missing: [] };
    const { cluster, telemetry } = this.node;
    const close = () => cluster.messenger.close(connectionId, reason, telemetry.connections.cause());
    return this.#command('close', connectionId, close);
  }

  async closeAllConnections(
    reason: CloseReason = 'closed',
    options: { readonly cluster?: boolean } = {},
  ): Promise<CloseReceipt> {
    checkReason(reason);
    checkArguments('closeAllConnections', options);
    if (this.node.closed) return CLOSED_NOTHING;
    const closed = this.#listener.onCloseAll(reason);
    if (options.cluster !== true) return { closed, missing: [] };
    const { cluster, telemetry } = this.node;
    const close = () => cluster.messenger.closeAll(reason, telemetry.connections.cause());
    const others = await this.#command('close-all', undefined, close);
    return { ...others, closed: closed + others.closed };
  }

  async revoke(selector: RevocationSelector, options: RevocationOptions = {}): Promise<CloseReceipt> {
    checkArguments('revoke', options);
    if (this.node.closed) return CLOSED_NOTHING;
    return this.#command('revoke', selector.connectionId, () => this.#revocations.revoke(selector, options));
  }

  async isConnected(connectionId: string): Promise<boolean> {
    return (await this.locate(connectionId)) !== undefined;
  }

  hasLocal(connectionId: string): boolean {
    this.node.assertOpen();
    return this.node.store.get(connectionId) !== undefined;
  }

  async locate(connectionId: string): Promise<string | undefined> {
    checkConnectionId(connectionId);
    if (this.hasLocal(connectionId)) return this.nodeId;
    const { routes } = this.node.cluster;
    const route = await this.#command('locate', connectionId, () => routes.locate(connectionId));
    return route?.nodeId;
  }

  getConnectionCount(): number {
    this.node.assertOpen();
    return this.node.store.size;
  }

  connections(filter: ConnectionFilter = {}): readonly ConnectionInfo[] {
    this.node.assertOpen();
    checkArguments('connections', filter);
    const { user, topic } = filter;
    if (user !== undefined) checkUser(user);
    if (topic !== undefined) checkTopic(topic);
    const { store } = this.node;
    const candidates = topic === undefined ? store.connections() : store.subscribers(topic);
    const found: ConnectionInfo[] = [];
    for (const connection of candidates) {
      if (user === undefined || connection.user === user) found.push(infoOf(connection));
    }
    return found;
  }

  async getClusterConnectionCount(): Promise<number> {
    this.node.assertOpen();
    return this.#command('count', undefined, () => this.node.cluster.routes.count());
  }

  async publish(topic: string, event: string, data: unknown, options: PublishOptions = {}): Promise<PublishReceipt> {
    checkArguments('publish', options);
    checkTopic(topic);
    return this.#publisher.publish(topic, event, data, options);
  }

  async publishToUser(
    user: string,
    event: string,
    data: unknown,
    options: PublishOptions = {},
  ): Promise<PublishReceipt> {
    checkArguments('publishToUser', options);
    return this.#publisher.publish(userTopic(user), event, data, options);
  }

  async connectionsOf(user: string): Promise<Presence> {
    return this.#presence(userTopic(user));
  }

  async subscribe(connectionId: string, topic: string): Promise<CommandReceipt> {
    return this.#subscriptions.change(connectionId, topic, 'subscribe');
  }

  async unsubscribe(connectionId: string, topic: string): Promise<CommandReceipt> {
    return this.#subscriptions.change(connectionId, topic, 'unsubscribe');
  }

  async stopSource(key: string): Promise<CommandReceipt> {
    checkKey('a source key', key);
    if (this.node.closed) return CLOSED;
    if (await this.sources.end(key)) return { outcome: 'delivered' };
    return this.#command('end-source', undefined, () => this.node.cluster.messenger.endSource(key));
  }

  async forgetSource(key: string): Promise<CommandReceipt> {
    const stopped = await this.stopSource(key);
    if (stopped.outcome !== 'delivered' && stopped.outcome !== 'not-connected') return stopped;
    return this.sources.forget(key);
  }

  async confirm(report: unknown, user?: string): Promise<CommandReceipt> {
    const { closed, cluster } = this.node;
    const confirmations = this.node.confirming('confirm');
    const checked = reportIn(report, user);
    if (closed) return CLOSED;
    const here = this.#listener.onConfirm(checked);
    if (here.outcome !== 'not-connected') return here;
    return confirmations.forward(() => cluster.messenger.confirm(checked));
  }

  async presence(topic: string): Promise<Presence> {
    checkTopic(topic);
    return this.#presence(topic);
  }

  async #presence(topic: string): Promise<Presence> {
    this.node.assertOpen();
    const { connections, missing } = await this.#command('presence', undefined, () =>
      this.node.cluster.messenger.presence(topic),
    );
    return {
      connections: connections.map(({ connectionId, nodeId }) => {
        const user = userOf(connectionId);
        return user === undefined ? { connectionId, nodeId } : { connectionId, nodeId, user };
      }),
      missing,
    };
  }

  async position(): Promise<string> {
    this.node.assertOpen();
    const { log } = this.node.cluster;
    const { head } = await this.#command('position', undefined, () => log.replay({ topics: [], limit: 1 }));
    return formatCursor(head);
  }

  async nodes(): Promise<readonly NodeInfo[]> {
    this.node.assertOpen();
    return this.#command('nodes', undefined, () => this.node.cluster.routes.nodes());
  }

  async start(): Promise<void> {
    this.node.assertOpen();
    await this.node.cluster.join();
  }

  drain(options: DrainOptions = {}): Promise<void> {
    checkArguments('drain', options);
    return this.#shutdown.drain(options.timeout ?? this.node.options.reliability.gracefulShutdownTimeout);
  }

  close(): Promise<void> {
    return this.#shutdown.close();
  }

  health(): Health {
    return healthOf(this.node);
  }

  #command<R>(command: Command, connectionId: string | undefined, work: () => Promise<R>): Promise<R> {
    return this.node.telemetry.connections.commanding(command, connectionId, work);
  }
}

function infoOf({ id, user, state, topics, sendBufferBytes, openedAt, cursor }: LocalConnection): ConnectionInfo {
  return {
    connectionId: id,
    ...(user !== undefined && { user }),
    state: state.kind,
    topics: [...topics].filter(topic => !isInternal(topic)),
    sendBufferBytes,
    ageMs: performance.now() - openedAt,
    ...(cursor && { cursor: formatCursor(cursor) }),
  };
}

const CLOSED_NOTHING: CloseReceipt = { closed: 0, missing: [], unavailable: 'CLOSED' };
