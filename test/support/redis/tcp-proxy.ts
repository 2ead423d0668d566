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
