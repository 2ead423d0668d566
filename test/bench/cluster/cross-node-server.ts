import type { BenchServer, MemoryUse } from '../bench-server.js';
import type { ClusterProcess } from './cluster-process.js';

/** Two nodes as one server: the clients are at one, what is broadcast comes from the other. */
export class CrossNodeServer implements BenchServer {
  readonly port: number;

  /** @param what the kind of broadcast */
  constructor(
    private readonly sender: ClusterProcess,
    private readonly receiver: ClusterProcess,
    readonly speaks: 'event-stream' | 'socket.io',
    readonly path: string,
    public what = 'broadcast',
  ) {
    this.port = receiver.port;
  }

  broadcast(count: number): Promise<number> {
    return this.sender.many(this.what, count);
  }

  /** Of the node that has the clients. */
  cpu(): Promise<number> {
    return this.receiver.cpu();
  }

  memory(): Promise<MemoryUse> {
    return this.receiver.ask('memory');
  }

  async stop(): Promise<void> {
    await Promise.all([this.sender.stop(), this.receiver.stop()]);
  }
}
