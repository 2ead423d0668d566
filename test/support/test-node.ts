import type { MemoryBus } from '../../src/cluster/memory/bus.js';
import { LocalCoordinator } from '../../src/cluster/memory/coordinator.js';
import type { AuditListener } from '../../src/contracts/logger.js';
import type { Authorizer } from '../../src/contracts/authorization.js';
import type { ClusterCoordinator } from '../../src/contracts/cluster.js';
import type { SseConnection } from '../../src/contracts/connection.js';
import type { ResiliencePolicy } from '../../src/contracts/policy.js';
import type { ConnectionOptions } from '../../src/contracts/service.js';
import { AuditTrail, type Consistency } from '../../src/node/node.js';
import { DistributedSseService } from '../../src/node/service.js';
import { MemoryConnectionStore } from '../../src/node/store.js';
import { resolveOptions, type SseOptions } from '../../src/options/sse-options.js';
import { formatCursor } from '../../src/protocol/cursor.js';
import { PassthroughPolicy } from '../../src/resilience/policies.js';
import { OpenTelemetry } from '../../src/telemetry/telemetry.js';
import { RecordingLogger } from './recording-logger.js';
import { RecordingSink } from './recording-sink.js';

/** What a test wants otherwise than usual. */
export interface TestNodeSettings {
  readonly options?: SseOptions;
  readonly policy?: ResiliencePolicy;
  readonly authorizer?: Authorizer;
  readonly onAudit?: AuditListener;
  /** Puts something between the service and its coordinator. */
  readonly wrap?: (coordinator: ClusterCoordinator) => ClusterCoordinator;
  /** What checks the node; without it nothing does. */
  readonly consistency?: (node: TestNode) => Consistency;
}

/** A client that got in. */
export interface TestClient {
  readonly connection: SseConnection;
  readonly sink: RecordingSink;
}

/** One service with everything it is made of, in memory. */
export class TestNode {
  readonly store = new MemoryConnectionStore();
  readonly logger = new RecordingLogger();
  readonly telemetry: OpenTelemetry;
  readonly coordinator: ClusterCoordinator;
  readonly service: DistributedSseService;
  /** Of every client that tried to get in. */
  readonly sinks: RecordingSink[] = [];

  constructor(
    readonly nodeId: string,
    readonly bus: MemoryBus,
    settings: TestNodeSettings = {},
  ) {
    const { options = {}, policy = new PassthroughPolicy(), wrap = (same: ClusterCoordinator) => same } = settings;
    const { consistency } = settings;
    const resolved = resolveOptions({
      ...options,
      connection: { heartbeat: false, ...options.connection },
      node: { id: nodeId },
    });
    this.telemetry = new OpenTelemetry({ ...resolved.telemetry, nodeId, formatId: formatCursor });
    const inner = new LocalCoordinator(nodeId, resolved.connection, bus);
    this.coordinator = wrap(inner);
    const checks = consistency && { consistency: consistency(this) };
    this.service = new DistributedSseService({
      options: resolved,
      store: this.store,
      coordinator: this.coordinator,
      policy,
      logger: this.logger,
      telemetry: this.telemetry,
      audit: new AuditTrail(nodeId, this.logger, settings.onAudit),
      ...checks,
      ...(settings.authorizer && { authorizer: settings.authorizer }),
    });
  }

  async connect(
    connectionId: string,
    options: ConnectionOptions = {},
    sink = new RecordingSink(),
  ): Promise<TestClient> {
    this.sinks.push(sink);
    const connection = await this.service.createConnection(connectionId, sink, options);
    return { connection, sink };
  }
}
