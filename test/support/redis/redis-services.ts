import { Container } from 'inversify';
import { sseModule, type SseOverrides } from '../../../src/container.js';
import { SseService } from '../../../src/contracts/service.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import type { ServiceFactory } from '../../contract/sse-service.contract.js';
import { RecordingLogger } from '../recording-logger.js';
import { randomPrefix } from './gateway-options.js';
import { NodeProxies } from './tcp-proxy.js';

/** Services of one cluster in Redis, each behind a proxy of its own, so that it can be cut off. */
export class RedisServices implements ServiceFactory {
  readonly logger = new RecordingLogger();
  readonly #proxies: NodeProxies;
  readonly #services: SseService[] = [];
  readonly #prefix = randomPrefix();

  constructor(
    port: () => number,
    private readonly overrides: SseOverrides = {},
  ) {
    this.#proxies = new NodeProxies(port);
  }

  async node(nodeId: string, options: SseOptions = {}): Promise<SseService> {
    const { logger } = this;
    const url = await this.#proxies.url(nodeId);
    const redis = { url, prefix: this.#prefix, channel: `${this.#prefix}events` };
    const container = new Container();
    const connection = { heartbeat: false as const, ...options.connection };
    const node = { heartbeat: 200, lease: 15_000, ...options.node, id: nodeId };
    container.load(sseModule({ ...options, connection, redis, node }, { logger, ...this.overrides }));
    const service = container.get<SseService>(SseService);
    this.#services.push(service);
    await service.start();
    return service;
  }

  cut(nodeId: string): void {
    this.#proxies.cut(nodeId);
  }

  heal(nodeId: string): void {
    this.#proxies.heal(nodeId);
  }

  async dispose(): Promise<void> {
    this.#proxies.healAll();
    await Promise.all(this.#services.map(service => service.close()));
    await this.#proxies.close();
  }
}
