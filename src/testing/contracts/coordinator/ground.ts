import type { ClusterCoordinator } from '../../../contracts/cluster.js';
import { RecordingListener } from '../recording-listener.js';
import type { TestRunner } from '../runner.js';
import { until } from '../until.js';
import { type Node, ownNames, settled } from './steps.js';

/** Makes the nodes of a cluster. One cluster serves all tests of a contract. */
export interface ClusterFactory {
  /** A node that has not started. An id may be taken over five times within 30 s. */
  node(nodeId: string): Promise<ClusterCoordinator>;
  /** Cuts a node off from all others; no node is notified. Left out where that cannot be done. */
  cut?(nodeId: string): void | Promise<void>;
  /** Ends a cut. Does nothing for a node that is not cut off. */
  heal?(nodeId: string): void | Promise<void>;
  /** Resolves when no node renews its routes, as it does after a join and after an outage. Left out where none does. */
  quiet?(): Promise<void>;
  /** Closes all nodes and deletes the cluster. Left out where it holds nothing that must be released. */
  dispose?(): Promise<void>;
}

/** How much of the contract runs. */
export interface ContractExtent {
  /** Only the tests that are marked `core`: one for each method and each promise that depends on the topology. */
  readonly only?: 'core';
}

/** What a test has: two nodes, and names that no other test uses. */
export type TestOfContract = ReturnType<typeof ownNames> & {
  /** These two serve all tests. A test that ends a node, or counts nodes, starts another one. */
  readonly a: Node;
  readonly b: Node;
  /** A node for this test. It is closed after the test. */
  readonly another: (nodeId: string) => Promise<Node>;
  /** A node that has not started. */
  readonly unstarted: (nodeId: string) => Promise<Node>;
  /** The takeovers of this test's connections of which a node got a notification. */
  readonly takeoversAt: (node: Node) => { connectionId: string; token: string }[];
};

type Body = (test: TestOfContract) => void | Promise<void>;

/** Where the tests of a contract run: a cluster with two nodes. */
export class Ground {
  /** Cuts a node off, and ends the cut; `undefined` where that cannot be done. */
  readonly outages: Required<Pick<ClusterFactory, 'cut' | 'heal'>> | undefined;
  readonly #others: Node[] = [];
  #test: TestOfContract | undefined;

  constructor(
    private readonly runner: TestRunner,
    private readonly factory: ClusterFactory,
    private readonly extent: ContractExtent,
  ) {
    if (factory.cut === undefined || factory.heal === undefined) return;
    this.outages = { cut: factory.cut.bind(factory), heal: factory.heal.bind(factory) };
  }

  readonly describe = (title: string, body: () => void): unknown => this.runner.describe(title, body);

  /** A test of every topology. */
  readonly core = (title: string, body: Body): unknown => this.runner.it(title, () => body(this.#present()));

  /** A test whose promise does not depend on the topology. */
  readonly it = (title: string, body: Body): unknown =>
    this.extent.only === 'core' ? undefined : this.core(title, body);

  readonly afterEach = (body: Body): unknown => this.runner.afterEach(() => body(this.#present()));

  /** Starts the nodes before the tests, and ends the cluster after them. */
  prepare(): void {
    const { runner, factory } = this;
    let alive: ReturnType<typeof setInterval>;
    let a: Node;
    let b: Node;
    runner.before(async () => {
      // No timer of a coordinator keeps the process alive, and `node:test` gives up when nothing does.
      alive = setInterval(() => undefined, 60_000);
      [a, b] = await Promise.all([this.#started('node-a'), this.#started('node-b')]);
    });
    runner.beforeEach(async () => {
      this.#test = this.#begin(a, b);
      // A renewal would repair what a test changes on purpose.
      await factory.quiet?.();
      await Promise.all([a, b].map(({ coordinator }) => coordinator.routes.releaseAll()));
      await settled(a, b);
      for (const { listener } of [a, b]) listener.reset();
    });
    runner.afterEach(async () => {
      await Promise.all(this.#others.splice(0).map(({ coordinator }) => coordinator.close()));
    });
    runner.after(async () => {
      clearInterval(alive);
      await factory.dispose?.();
    });
  }

  #present(): TestOfContract {
    if (this.#test === undefined) throw new Error('a test begins in beforeEach');
    return this.#test;
  }

  #begin(a: Node, b: Node): TestOfContract {
    const names = ownNames();
    const own = [names.c1, names.c2, names.c3];
    return {
      ...names,
      a,
      b,
      unstarted: nodeId => this.#unstarted(nodeId),
      another: async nodeId => {
        const node = await this.#started(nodeId);
        this.#others.push(node);
        await this.factory.quiet?.();
        return node;
      },
      takeoversAt: ({ listener }) => listener.superseded.filter(({ connectionId }) => own.includes(connectionId)),
    };
  }

  async #unstarted(nodeId: string): Promise<Node> {
    return { coordinator: await this.factory.node(nodeId), listener: new RecordingListener() };
  }

  async #started(nodeId: string): Promise<Node> {
    const node = await this.#unstarted(nodeId);
    await node.coordinator.start(node.listener);
    // A start does not wait for a cluster that is slow to answer.
    await until(() => node.coordinator.status().reachable, `${nodeId} to be reachable`);
    return node;
  }
}
