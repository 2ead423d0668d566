import { MemoryBus } from '../../src/cluster/memory/bus.js';
import { TestNode, type TestNodeSettings } from './test-node.js';

/** Nodes on one bus, closed together. */
export class TestCluster {
  readonly bus = new MemoryBus();
  readonly nodes: TestNode[] = [];

  /** A node that has not joined yet; its first connection does that. */
  node(nodeId: string, settings: TestNodeSettings = {}): TestNode {
    const node = new TestNode(nodeId, this.bus, settings);
    this.nodes.push(node);
    return node;
  }

  /** A node that has joined. */
  async started(nodeId: string, settings: TestNodeSettings = {}): Promise<TestNode> {
    const node = this.node(nodeId, settings);
    await node.service.start();
    return node;
  }

  /** Ends every node; the clients leave before, so that none is waited for. */
  async close(): Promise<void> {
    for (const { sinks } of this.nodes) for (const sink of sinks) sink.leave();
    await Promise.all(this.nodes.map(({ service }) => service.close()));
  }
}
