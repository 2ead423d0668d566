import type { CloseReason } from '../contracts/close-reason.js';
import type { ClusterListener, Registered } from '../contracts/cluster-listener.js';
import type { Delivery } from '../contracts/connection-store.js';
import type { Frame } from '../contracts/frame.js';
import type { SseNode } from './sse-node.js';
import type { Subscriptions } from './subscriptions.js';

/** What the cluster asks of this node, carried out on its store. */
export class NodeListener implements ClusterListener {
  constructor(
    private readonly node: SseNode,
    private readonly subscriptions: Subscriptions,
  ) {}

  onMessage(connectionId: string, token: string, messageId: string, frame: Frame): Delivery {
    const connection = this.node.store.find(connectionId, token);
    return connection?.deliverOnce(messageId, frame) ?? { outcome: 'closed' };
  }

  onPublication(topic: string | undefined, frame: Frame): void {
    if (topic === undefined) this.node.store.deliverToAll(frame);
    else this.node.store.deliverToTopic(topic, frame);
  }

  onSuperseded(connectionId: string, token: string): void {
    this.node.store.find(connectionId, token)?.close('superseded');
  }

  onClose(connectionId: string, reason: CloseReason): boolean {
    const connection = this.node.store.get(connectionId);
    connection?.close(reason);
    return connection !== undefined;
  }

  onCloseAll(reason: CloseReason): void {
    for (const connection of [...this.node.store.connections()]) connection.close(reason);
  }

  async onSubscribe(connectionId: string, topic: string): Promise<boolean> {
    const connection = this.node.store.get(connectionId);
    return connection !== undefined && this.subscriptions.add(connection, topic);
  }

  onUnsubscribe(connectionId: string, topic: string): boolean {
    const connection = this.node.store.get(connectionId);
    if (connection === undefined) return false;
    this.subscriptions.remove(connection, topic);
    return true;
  }

  onPresence(topic: string): readonly string[] {
    return [...this.node.store.subscribers(topic)].map(({ id }) => id);
  }

  *registered(): Iterable<Registered> {
    for (const { id, token, fence } of this.node.store.connections()) {
      if (fence > 0) yield { connectionId: id, token };
    }
  }
}
