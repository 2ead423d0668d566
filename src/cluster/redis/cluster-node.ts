import type { ClusterListener } from '../../contracts/cluster.js';
import type { Logger } from '../../contracts/logger.js';
import type { MaintenanceTelemetry } from '../../contracts/telemetry.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import type { RedisGateway } from './gateway.js';

/** The parts of a coordinator share this: the node, its gateway to Redis, and the listener for what arrives. */
export interface ClusterNode {
  readonly nodeId: string;
  /** This life of the node. */
  readonly inc: string;
  readonly options: ResolvedSseOptions;
  readonly gateway: RedisGateway;
  readonly listener: ClusterListener;
  readonly logger: Logger;
  readonly telemetry: MaintenanceTelemetry;
}
