import { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import type { MaintenanceTelemetry } from '../../../src/contracts/telemetry.js';
import { resolveOptions, type SseOptions } from '../../../src/options/sse-options.js';
import { SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import type { ClusterFactory } from '../../../src/testing/contracts/coordinator/ground.js';
import { RecordingLogger } from '../recording-logger.js';
import { until } from '../until.js';
import { randomPrefix } from './gateway-options.js';
import { NodeProxies } from './tcp-proxy.js';

const QUIET_LOOKS = 3;

/** Coordinators of one cluster after the other, each with key names of its own. */
export class RedisNodes implements ClusterFactory {
  readonly logger = new RecordingLogger();
  #prefix = randomPrefix();
  #nodes: RedisCoordinator[] = [];
  #repairs = 0;
  readonly #maintenance: MaintenanceTelemetry = {
    ...new SilentTelemetry().maintenance,
    reconciling: async work => {
      this.#repairs += 1;
      try {
        return await work();
      } finally {
        this.#repairs -= 1;
      }
    },
  };

  /** @param where the Redis settings, asked when the first node is made */
  constructor(
    private readonly where: () => SseOptions['redis'],
    private readonly settings: SseOptions = {},
  ) {}

  get prefix(): string {
    return this.#prefix;
  }

  async node(nodeId: string): Promise<RedisCoordinator> {
    return this.make(nodeId, this.where());
  }

  /** Resolves when no node renews its routes. A renewal that was asked for begins in a later turn of the event loop. */
  quiet(): Promise<void> {
    let looks = 0;
    const isQuiet = (): boolean => {
      looks = this.#repairs === 0 ? looks + 1 : 0;
      return looks === QUIET_LOOKS;
    };
    return until(isQuiet, 'the repairs to be over');
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#nodes.splice(0).map(node => node.close()));
    this.#prefix = randomPrefix();
  }

  protected make(nodeId: string, redis: SseOptions['redis']): RedisCoordinator {
    const options = resolveOptions({
      ...this.settings,
      node: { heartbeat: 100, lease: 15_000, ...this.settings.node, id: nodeId },
      redis: { prefix: this.#prefix, channel: `${this.#prefix}events`, ...redis },
    });
    const node = new RedisCoordinator(options, this.logger, this.#maintenance);
    this.#nodes.push(node);
    return node;
  }
}

/** The same, each node behind a proxy of its own, so that it can be cut off. */
export class CuttableRedisNodes extends RedisNodes {
  readonly #proxies: NodeProxies;

  constructor(port: () => number, settings: SseOptions = {}) {
    super(() => ({}), settings);
    this.#proxies = new NodeProxies(port);
  }

  override async node(nodeId: string): Promise<RedisCoordinator> {
    return this.make(nodeId, { url: await this.#proxies.url(nodeId) });
  }

  override async dispose(): Promise<void> {
    this.#proxies.healAll();
    await super.dispose();
    await this.#proxies.close();
  }

  cut(nodeId: string): void {
    this.#proxies.cut(nodeId);
  }

  heal(nodeId: string): void {
    this.#proxies.heal(nodeId);
  }
}
