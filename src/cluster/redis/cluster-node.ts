import type { ClusterListener } from '../../contracts/listener.js';
import type { Logger } from '../../contracts/logger.js';
import type { MaintenanceTelemetry } from '../../contracts/telemetry.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import type { RedisClock } from './clock.js';
import type { RedisGateway } from './gateway.js';
import type { FrameSigner } from './signing.js';

/** The values that the parts of a coordinator share: the identity of this node, its gateway to Redis, and its listener. */
export interface ClusterNode {
  readonly nodeId: string;
  /** This life of the node. */
  readonly inc: string;
  readonly options: ResolvedSseOptions;
  readonly gateway: RedisGateway;
  /** Reads the log on a connection of its own: its size and lateness delay no other call. */
  readonly reading: RedisGateway;
  readonly clock: RedisClock;
  readonly signer: FrameSigner;
  readonly listener: ClusterListener;
  readonly logger: Logger;
  readonly telemetry: MaintenanceTelemetry;
}
