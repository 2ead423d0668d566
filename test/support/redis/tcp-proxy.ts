import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A way to a server on this machine that a test can cut: then no data passes, and neither end is notified. */
export class TcpProxy {
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #cut = false;

  private constructor(
    private readonly server: Server,
    private target: number,
  ) {
    server.on('connection', socket => this.#pass(socket));
  }

  static async to(target: number): Promise<TcpProxy> {
    const server = createServer();
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    return new TcpProxy(server, target);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** From now on bytes wait, in both directions, on present and on new connections. */
  cut(): void {
    this.#cut = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  /** Breaks the connections that were cut; new ones pass. */
  heal(): void {
    this.#cut = false;
    this.break();
  }

  /** New connections go to another server; present ones stay where they are. */
  point(target: number): void {
    this.target = target;
  }

  /** New connections go to another server; present ones end abruptly. */
  lead(target: number): void {
    this.target = target;
    this.break();
  }

  /** Ends every connection abruptly; new ones pass. */
  break(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  async close(): Promise<void> {
    this.break();
    await new Promise(resolve => this.server.close(resolve));
  }

  #pass(socket: Socket): void {
    const other = connect(this.target, '127.0.0.1');
    const pair = [socket, other] as const;
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [other, socket] as const]) {
      from.setNoDelay(true);
      from.on('error', () => undefined);
      from.on('close', () => {
        this.#pairs.delete(pair);
        to.destroy();
      });
      from.pipe(to);
      if (this.#cut) from.pause();
    }
  }
}

/** A way of its own to one server for each node, so that a test can cut single nodes off. */
export class NodeProxies {
  readonly #proxies = new Map<string, TcpProxy>();
  readonly #cut = new Set<string>();

  /** @param target the port of the server, asked when a way is made */
  constructor(private readonly target: () => number) {}

  /** The URL by which a node reaches the server. A later node of the same id gets another one, and the former one ends. */
  async url(nodeId: string): Promise<string> {
    await this.#proxies.get(nodeId)?.close();
    const proxy = await TcpProxy.to(this.target());
    this.#proxies.set(nodeId, proxy);
    return `redis://127.0.0.1:${proxy.port}`;
  }

  cut(nodeId: string): void {
    this.#cut.add(nodeId);
    this.#proxies.get(nodeId)?.cut();
  }

  /** Does nothing for a node that is not cut off. */
  heal(nodeId: string): void {
    if (this.#cut.delete(nodeId)) this.#proxies.get(nodeId)?.heal();
  }

  healAll(): void {
    for (const nodeId of this.#cut) this.heal(nodeId);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#proxies.values()].map(proxy => proxy.close()));
    this.#proxies.clear();
  }
}
