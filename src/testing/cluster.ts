import { Container } from 'inversify';
import { CONFIRM_TYPE } from '../client/confirm.js';
import { connect, type ConnectOptions, type EventMap, type FetchInit } from '../client/index.js';
import { MemoryBus } from '../cluster/memory/bus.js';
import { LocalCoordinator } from '../cluster/memory/coordinator.js';
import { sseModule, type SseOverrides } from '../container.js';
import type { Logger } from '../contracts/logger.js';
import { type ConnectionOptions, SseService } from '../contracts/service.js';
import { httpStatusOf, SseError } from '../errors.js';
import { refusalOf } from '../koa/reports.js';
import { assertKnownKeys, shownValue } from '../options/problems.js';
import { resolveOptions, type SseOptions } from '../options/sse-options.js';
import { TestClient } from './client.js';
import { MemorySocket } from './memory-socket.js';

/** Settings of {@link createTestCluster}. */
export interface TestClusterOptions {
  /** How many nodes, named `a`, `b`, …; or their ids. Default 1. */
  readonly nodes?: number | readonly string[];
  /** Settings of every node. Default: those of the library, with reconnects after 10 ms, and without heartbeats. */
  readonly options?: SseOptions;
  /** Services of the application's own, made for one node. */
  readonly overrides?: (nodeId: string) => Omit<SseOverrides, 'clusterCoordinator'>;
  /** Binds what the application needs in the container of a node. */
  readonly bind?: (container: Container, nodeId: string) => void;
}

/** Settings of {@link TestCluster.connect}. */
export interface TestConnectOptions extends Omit<ConnectionOptions, 'lastEventId'> {
  /** The node that the client asks first. Default: each attempt goes to the next node that takes connections. */
  readonly node?: string;
  /** Default: the client's own, with reconnects after 10 ms, and without a bound on silence. */
  readonly client?: Omit<ConnectOptions, 'fetch' | 'transport'>;
}

/** One node of a {@link TestCluster}. */
export interface TestNode {
  readonly id: string;
  readonly container: Container;
  readonly sse: SseService;
}

interface RunningNode extends TestNode {
  readonly sockets: Map<string, MemorySocket>;
  state: 'up' | 'draining' | 'killed';
}

/**
 * Nodes in this process, without Redis and without a network, started and joined. All their timers are those of the process, so
 * that fake timers installed before drive them: `setTimeout`, `Date` and `performance` have to be faked together.
 * Rejects with `INVALID_OPTION` for an option that is unknown, and without a node.
 */
export async function createTestCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  assertKnownKeys('createTestCluster', options, ['nodes', 'options', 'overrides', 'bind']);
  const { nodes = 1 } = options;
  if (Array.isArray(nodes) ? nodes.length === 0 : !Number.isInteger(nodes) || Number(nodes) < 1) {
    throw new SseError(
      'INVALID_OPTION',
      `nodes of createTestCluster must be at least 1, or ids, got ${shownValue(nodes)}`,
    );
  }
  const cluster = new TestCluster(options);
  await Promise.all(cluster.nodes.map(({ sse }) => sse.start()));
  return cluster;
}

/** Made by {@link createTestCluster}. */
export class TestCluster {
  readonly #bus = new MemoryBus();
  readonly #nodes: readonly RunningNode[];
  readonly #clients: { close(): void }[] = [];
  #turn = 0;

  /** @internal */
  constructor(private readonly settings: TestClusterOptions) {
    const { nodes = 1 } = settings;
    const ids = typeof nodes === 'number' ? Array.from({ length: nodes }, (_, index) => nameOf(index)) : nodes;
    this.#nodes = ids.map(id => this.#create(id));
  }

  get nodes(): readonly TestNode[] {
    return this.#nodes;
  }

  /** @throws Error for an unknown id */
  node(id: string): TestNode {
    return this.#node(id);
  }

  /**
   * A client without a network, open. When its connection ends it comes back, to the next node that takes connections.
   * Rejects when it cannot be opened within 5 s.
   */
  async connect<Events extends object = EventMap>(
    connectionId: string,
    { node, client = {}, ...options }: TestConnectOptions = {},
  ): Promise<TestClient<Events>> {
    let first = node;
    const fetch = (_: string, init: FetchInit): Promise<Response> => {
      const target = this.#choose(first);
      first = undefined;
      return this.#answer(target, connectionId, options, init);
    };
    const url = `http://test/${encodeURIComponent(connectionId)}`;
    const created = new TestClient(connect<Events>(url, { delay: 10, silence: false, ...client, fetch }));
    this.#clients.push(created);
    await created.opened();
    return created;
  }

  /** Cuts a node off from the others, as when it cannot reach Redis; its clients stay connected to it. */
  cut(id: string): void {
    this.#node(id);
    this.#bus.cut(id);
  }

  /** Ends a cut. */
  heal(id: string): void {
    if (this.#node(id).state !== 'killed') this.#bus.heal(id);
  }

  /** Ends a node without any goodbye: its sockets break. The others know at once that its connections are gone. */
  kill(id: string): void {
    const node = this.#node(id);
    if (node.state === 'killed') return;
    node.state = 'killed';
    this.#bus.cut(id);
    this.#bus.releaseRoutes(id);
    for (const socket of node.sockets.values()) socket.break();
  }

  /** Drains a node; resolves when its clients have left. */
  async drain(id: string): Promise<void> {
    const node = this.#node(id);
    node.state = 'draining';
    await node.sse.drain();
  }

  /** Whether a client reads nothing for now: the server's send buffer fills. @throws Error when it is not connected */
  slow(connectionId: string, slow = true): void {
    const socket = this.#nodes.map(({ sockets }) => sockets.get(connectionId)).find(found => found?.closed === false);
    if (socket === undefined) throw new Error(`no client '${connectionId}' is connected to this cluster`);
    socket.setSlow(slow);
  }

  /** Ends the clients, then the nodes. */
  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const { state, id } of this.#nodes) if (state !== 'killed') this.#bus.heal(id);
    await Promise.all(this.#nodes.map(({ sse }) => sse.close()));
  }

  #create(id: string): RunningNode {
    const { options = {}, overrides, bind } = this.settings;
    const complete: SseOptions = {
      ...options,
      node: { ...options.node, id },
      reconnect: { retry: 10, jitter: 0, ...options.reconnect },
      connection: { heartbeat: false, ...options.connection },
    };
    const { connection } = resolveOptions(complete, {});
    const container = new Container();
    container.load(
      sseModule(complete, {
        environment: false,
        logger: SILENT,
        ...overrides?.(id),
        clusterCoordinator: new LocalCoordinator(id, connection, this.#bus),
      }),
    );
    bind?.(container, id);
    return { id, container, sse: container.get(SseService), sockets: new Map(), state: 'up' };
  }

  #node(id: string): RunningNode {
    const node = this.#nodes.find(each => each.id === id);
    if (node !== undefined) return node;
    throw new Error(`no node '${id}' in this cluster; its nodes are ${this.#nodes.map(each => each.id).join(', ')}`);
  }

  #choose(first: string | undefined): RunningNode {
    if (first !== undefined) return this.#node(first);
    const up = this.#nodes.filter(({ state }) => state === 'up');
    const node = up[(this.#turn += 1) % up.length];
    if (node === undefined) throw new TypeError('no node takes connections');
    return node;
  }

  async #answer(
    node: RunningNode,
    connectionId: string,
    options: ConnectionOptions,
    { headers, signal, body }: FetchInit,
  ): Promise<Response> {
    if (node.state === 'killed') throw new TypeError('the node is gone');
    if (headers['accept'] === CONFIRM_TYPE) return answerReport(node.sse, body).catch(refusal);
    const lastEventId = headers['last-event-id'];
    const socket = new MemorySocket(signal);
    node.sockets.set(connectionId, socket);
    const confirms = headers['accept']?.includes(CONFIRM_TYPE) === true;
    const request = { ...options, confirms, ...(lastEventId === undefined ? {} : { lastEventId }) };
    const refused = node.sse.createConnection(connectionId, socket, request).then(() => socket.response, refusal);
    return Promise.race([socket.response, refused]);
  }
}

/** The status with which the middleware answers the report of a client that confirms. */
async function answerReport(sse: SseService, body: unknown): Promise<Response> {
  const refused = refusalOf(await sse.confirm(JSON.parse(String(body))));
  return new Response(null, { status: refused?.status ?? 204 });
}

/** The answer of the middleware to a refused request, without its text. */
function refusal(error: unknown): Response {
  if (!SseError.is(error)) throw error;
  return new Response(null, { status: httpStatusOf(error.code) });
}

function nameOf(index: number): string {
  return index < 26 ? String.fromCharCode('a'.charCodeAt(0) + index) : `node-${index}`;
}

const SILENT: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
