import { Container } from 'inversify';
import { sseModule } from '../../../src/container.js';
import { SseService } from '../../../src/contracts/service.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import type { ServiceFactory } from '../../contract/sse-service.contract.js';
import { RecordingLogger } from '../recording-logger.js';
import { randomPrefix } from './gateway-options.js';
import { TcpProxy } from './tcp-proxy.js';

/** Services of one cluster in Redis after the other, each behind a proxy of its own, so that it can be cut off. */
export class RedisServices implements ServiceFactory {
  readonly logger = new RecordingLogger();
  readonly #proxies = new Map<string, TcpProxy>();
  readonly #cut = new Set<string>();
  #services: SseService[] = [];
  #prefix = randomPrefix();

  constructor(private readonly port: () => number) {}

  async node(nodeId: string, options: SseOptions = {}): Promise<SseService> {
    const proxy = await TcpProxy.to(this.port());
    this.#proxies.set(nodeId, proxy);
    const { logger } = this;
    const url = `redis://127.0.0.1:${proxy.port}`;
    const redis = { url, prefix: this.#prefix, channel: `${this.#prefix}events` };
    const container = new Container();
    const connection = { heartbeat: false as const, ...options.connection };
    const node = { heartbeat: 200, lease: 15_000, ...options.node, id: nodeId };
    container.load(sseModule({ ...options, connection, redis, node }, { logger }));
    const service = container.get<SseService>(SseService);
    this.#services.push(service);
    await service.start();
    return service;
  }

  cut(nodeId: string): void {
    this.#cut.add(nodeId);
    this.#proxies.get(nodeId)?.cut();
  }

  heal(nodeId: string): void {
    this.#cut.delete(nodeId);
    this.#proxies.get(nodeId)?.heal();
  }

  async dispose(): Promise<void> {
    for (const nodeId of this.#cut) this.heal(nodeId);
    await Promise.all(this.#services.splice(0).map(service => service.close()));
    await Promise.all([...this.#proxies.values()].map(proxy => proxy.close()));
    this.#proxies.clear();
    this.#prefix = randomPrefix();
  }
}
