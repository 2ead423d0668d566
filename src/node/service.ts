import type { NodeInfo, Presence } from '../contracts/cluster.js';
import type { CloseReason, ConnectionSink, SseConnection } from '../contracts/connection.js';
import type {
  BroadcastReceipt,
  EventOptions,
  FanOut,
  LocalReceipt,
  PublishReceipt,
  Receipt,
} from '../contracts/events.js';
import type { Health } from '../contracts/health.js';
import type { LeakProbe } from '../contracts/self-check.js';
import type {
  ClusterSendOptions,
  ConnectionOptions,
  DrainOptions,
  PublishOptions,
  SendOptions,
  SseService,
} from '../contracts/service.js';
import { checkConnectionId, checkReason, checkTopic } from '../protocol/names.js';
import { NodeShutdown } from './drain.js';
import { healthOf } from './health.js';
import { Lifecycle } from './lifecycle.js';
import { NodeListener } from './listener.js';
import { Mailboxes } from './mailboxes.js';
import { connectionProbes } from './maintenance.js';
import { type NodeServices, SseNode } from './node.js';
import { ConnectionOpener, DegradedConnections } from './open.js';
import { Publisher } from './publish.js';
import { Replayer } from './replay.js';
import { MessageSender } from './send.js';
import { ResumableSources } from './sources.js';
import { Subscriptions } from './subscriptions.js';

/** The facade: each method checks its arguments and delegates to one use case. */
export class DistributedSseService implements SseService {
  readonly #node: SseNode;
  readonly #lifecycle: Lifecycle;
  readonly #listener: NodeListener;
  readonly #opener: ConnectionOpener;
  readonly #sender: MessageSender;
  readonly #publisher: Publisher;
  readonly #shutdown: NodeShutdown;

  constructor(services: NodeServices) {
    const node = new SseNode(services);
    const subscriptions = new Subscriptions(node);
    this.#node = node;
    this.#lifecycle = new Lifecycle(() => services.coordinator.start(this.#listener));
    const mailboxes = new Mailboxes(node, this.#lifecycle);
    const sources = new ResumableSources(node);
    this.#listener = new NodeListener(node, subscriptions, mailboxes, sources);
    this.#opener = new ConnectionOpener(
      node,
      this.#lifecycle,
      subscriptions,
      mailboxes,
      sources,
      new Replayer(node),
      new DegradedConnections(node),
    );
    this.#sender = new MessageSender(node, this.#lifecycle, mailboxes);
    this.#publisher = new Publisher(node, this.#lifecycle);
    this.#shutdown = new NodeShutdown(node, this.#lifecycle, sources);
  }

  /** What this node can leave behind of its connections. */
  leakProbes(): readonly LeakProbe[] {
    return connectionProbes(this.#node);
  }

  get nodeId(): string {
    return this.#node.options.node.id;
  }

  createConnection(
    connectionId: string,
    sink: ConnectionSink,
    options: ConnectionOptions = {},
  ): Promise<SseConnection> {
    return this.#opener.open(connectionId, sink, options);
  }

  sendMessage(
    connectionId: string,
    event: string,
    data: unknown,
    options: SendOptions = {},
  ): LocalReceipt {
    this.#lifecycle.assertOpen();
    return this.#sender.sendLocal(connectionId, event, data, options);
  }

  broadcast(event: string, data: unknown, options: EventOptions = {}): FanOut {
    this.#lifecycle.assertOpen();
    return this.#publisher.broadcast(event, data, options);
  }

  async sendMessageToConnection(
    connectionId: string,
    event: string,
    data: unknown,
    options: ClusterSendOptions = {},
  ): Promise<Receipt> {
    this.#lifecycle.assertOpen();
    return this.#sender.send(connectionId, event, data, options);
  }

  async broadcastToCluster(
    event: string,
    data: unknown,
    options: PublishOptions = {},
  ): Promise<BroadcastReceipt> {
    this.#lifecycle.assertOpen();
    return this.#publisher.broadcastToCluster(event, data, options);
  }

  async closeConnection(connectionId: string, reason: CloseReason = 'closed'): Promise<boolean> {
    checkConnectionId(connectionId);
    checkReason(reason);
    await this.#lifecycle.start();
    if (this.#listener.onClose(connectionId, reason)) return true;
    return this.#maintain(() => this.#node.coordinator.messenger.close(connectionId, reason));
  }

  async closeAllConnections(
    reason: CloseReason = 'closed',
    options: { readonly cluster?: boolean } = {},
  ): Promise<void> {
    checkReason(reason);
    await this.#lifecycle.start();
    this.#listener.onCloseAll(reason);
    if (options.cluster !== true) return;
    await this.#maintain(() => this.#node.coordinator.messenger.closeAll(reason));
  }

  async isConnected(connectionId: string): Promise<boolean> {
    return (await this.locate(connectionId)) !== undefined;
  }

  hasLocal(connectionId: string): boolean {
    this.#lifecycle.assertOpen();
    return this.#node.store.get(connectionId) !== undefined;
  }

  async locate(connectionId: string): Promise<string | undefined> {
    checkConnectionId(connectionId);
    await this.#lifecycle.start();
    if (this.hasLocal(connectionId)) return this.nodeId;
    const route = await this.#maintain(() => this.#node.coordinator.routes.locate(connectionId));
    return route?.nodeId;
  }

  getConnectionCount(): number {
    this.#lifecycle.assertOpen();
    return this.#node.store.size;
  }

  async getClusterConnectionCount(): Promise<number> {
    await this.#lifecycle.start();
    return this.#maintain(() => this.#node.coordinator.routes.count());
  }

  async publish(
    topic: string,
    event: string,
    data: unknown,
    options: PublishOptions = {},
  ): Promise<PublishReceipt> {
    this.#lifecycle.assertOpen();
    return this.#publisher.publish(topic, event, data, options);
  }

  async subscribe(connectionId: string, topic: string): Promise<boolean> {
    checkConnectionId(connectionId);
    checkTopic(topic);
    await this.#lifecycle.start();
    if (this.hasLocal(connectionId)) return this.#listener.onSubscribe(connectionId, topic);
    return this.#maintain(() => this.#node.coordinator.messenger.subscribe(connectionId, topic));
  }

  async unsubscribe(connectionId: string, topic: string): Promise<boolean> {
    checkConnectionId(connectionId);
    checkTopic(topic);
    await this.#lifecycle.start();
    if (this.hasLocal(connectionId)) return this.#listener.onUnsubscribe(connectionId, topic);
    return this.#maintain(() => this.#node.coordinator.messenger.unsubscribe(connectionId, topic));
  }

  async presence(topic: string): Promise<Presence> {
    checkTopic(topic);
    await this.#lifecycle.start();
    return this.#maintain(() => this.#node.coordinator.messenger.presence(topic));
  }

  async nodes(): Promise<readonly NodeInfo[]> {
    await this.#lifecycle.start();
    return this.#maintain(() => this.#node.coordinator.routes.nodes());
  }

  start(): Promise<void> {
    return this.#lifecycle.start();
  }

  drain({
    timeout = this.#node.options.reliability.gracefulShutdownTimeout,
  }: DrainOptions = {}): Promise<void> {
    return this.#shutdown.drain(timeout);
  }

  close(): Promise<void> {
    return this.#shutdown.close();
  }

  health(): Health {
    return healthOf(this.#lifecycle.phase, this.#node);
  }

  #maintain<T>(operation: () => Promise<T>): Promise<T> {
    return this.#node.policy.execute('maintenance', operation);
  }
}
