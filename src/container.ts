import { hostname } from 'node:os';
import { ContainerModule, type ContainerModuleLoadOptions, type Newable, type ServiceIdentifier } from 'inversify';
import { MemoryBus } from './cluster/memory/bus.js';
import { LocalCoordinator } from './cluster/memory/coordinator.js';
import { RedisCoordinator } from './cluster/redis/cluster.js';
import { Authorizer } from './contracts/authorization.js';
import { ClusterCoordinator } from './contracts/cluster.js';
import { Audit, type AuditListener, Logger } from './contracts/logger.js';
import { ResiliencePolicy } from './contracts/policy.js';
import type { InconsistencyListener } from './contracts/self-check.js';
import { SseService } from './contracts/service.js';
import { ConnectionStore } from './contracts/store.js';
import { Telemetry } from './contracts/telemetry.js';
import { SseError } from './errors.js';
import { GUARDS_DECIDE } from './node/authorization.js';
import { connectionProbes, Maintenance } from './node/maintenance.js';
import { AuditTrail } from './node/node.js';
import { DistributedSseService } from './node/service.js';
import { MemoryConnectionStore } from './node/store.js';
import { TicketGuard } from './node/tickets.js';
import { assertKnownKeys } from './options/problems.js';
import { type EnvironmentOption, ResolvedSseOptions, resolveOptions, type SseOptions } from './options/sse-options.js';
import { formatCursor } from './protocol/cursor.js';
import { CockatielPolicy, PassthroughPolicy } from './resilience/policies.js';
import type { ServerAddress } from './telemetry/spans.js';
import { ConsoleLogger, LEVELS, OpenTelemetry, policyObserver, SilentTelemetry } from './telemetry/telemetry.js';

/** A service of one's own: a class the container builds once, or a ready object. */
export type Override<T> = Newable<T> | (T & object);

/** Services to use instead of the library's, and where settings come from. The service closes the coordinator it is given. */
export interface SseOverrides {
  readonly connectionStore?: Override<ConnectionStore>;
  readonly clusterCoordinator?: Override<ClusterCoordinator>;
  readonly resiliencePolicy?: Override<ResiliencePolicy>;
  /** Decides who may follow which topic, and stay. Default: what guards allowed. It may be bound as `Authorizer` instead. */
  readonly authorizer?: Override<Authorizer>;
  readonly logger?: Override<Logger>;
  /** Called for each difference between this node and the cluster that a check found, see `consistency`. */
  readonly onInconsistency?: InconsistencyListener;
  /** Called for each connect, refusal, takeover, expiry and revocation on this node, see `AuditEvent`. */
  readonly onAudit?: AuditListener;
  /**
   * `{ prefix: 'MYAPP_' }`: settings come from variables such as `MYAPP_CONNECTION_MAX_CONNECTIONS`; `false`: none comes from
   * the environment. Default `{ prefix: 'SSE_' }`.
   */
  readonly environment?: EnvironmentOption;
}

const OVERRIDES: Readonly<Record<keyof SseOverrides, true>> = {
  connectionStore: true,
  clusterCoordinator: true,
  resiliencePolicy: true,
  authorizer: true,
  logger: true,
  onInconsistency: true,
  onAudit: true,
  environment: true,
};

/**
 * Binds everything: `container.load(sseModule({ … }))`. `SseService.close()` ends everything, and so does
 * `container.unbindAllAsync()`, which is `unbindAll()` in Inversify 7. Settings come from the environment (`SSE_*`), then from
 * `options`, then from the defaults. Services may be rebound until the first of them is resolved; `overrides` do the same
 * without that care. Nothing is shared between two containers.
 * With `redis.url` or `redis.client` nodes meet in Redis, otherwise this process is a node of its own.
 * @throws SseError `INVALID_OPTION`
 */
export function sseModule(options: SseOptions = {}, overrides: SseOverrides = {}): ContainerModule {
  assertKnownKeys('sseModule', overrides, Object.keys(OVERRIDES));
  checkOverrides(options, overrides);
  const resolved = resolveOptions(options, process.env, overrides.environment);

  return new ContainerModule(load => {
    load.bind(ResolvedSseOptions).toConstantValue(resolved);
    bindService(load, Logger, overrides.logger, () => new ConsoleLogger());
    load
      .bind(Telemetry)
      .toResolvedValue(() => telemetryOf(resolved))
      .inSingletonScope();
    load
      .bind(Audit)
      .toResolvedValue(logger => new AuditTrail(resolved.node.id, logger, overrides.onAudit), [Logger])
      .inSingletonScope();
    bindService(load, ConnectionStore, overrides.connectionStore, () => new MemoryConnectionStore());
    bindService(load, Authorizer, overrides.authorizer, () => GUARDS_DECIDE);
    bindPolicy(load, overrides, resolved);
    bindCoordinator(load, overrides.clusterCoordinator, resolved);
    bindFacade(load, overrides.onInconsistency, resolved);
    load.bind(TicketGuard).toResolvedValue(service => new TicketGuard(service), [SseService]);
  });
}

/** Overrides that are functions of the application, or no service. */
const NO_SERVICES: readonly string[] = ['onInconsistency', 'onAudit', 'environment'];

/** @throws SseError `INVALID_OPTION` for an override among the settings, and one that could not do its work */
function checkOverrides(options: object | null, overrides: SseOverrides): void {
  const misplaced = Object.keys(OVERRIDES).find(name => options !== null && Object.hasOwn(options, name));
  if (misplaced !== undefined) {
    throw new SseError(
      'INVALID_OPTION',
      `${misplaced} is not a setting; give it apart: sseModule({}, { ${misplaced} })`,
    );
  }
  for (const [name, service] of Object.entries(overrides) as [string, unknown][]) {
    // An arrow function is no class, and nothing would call it.
    if (NO_SERVICES.includes(name) || typeof service !== 'function' || service.prototype !== undefined) continue;
    throw new SseError(
      'INVALID_OPTION',
      `${name} of sseModule must be a class or an object, got a function; give what it returns`,
    );
  }
  const { logger } = overrides;
  const missing = typeof logger === 'object' ? LEVELS.find(level => typeof logger[level] !== 'function') : undefined;
  if (missing !== undefined) {
    const methods = LEVELS.join(', ');
    throw new SseError('INVALID_OPTION', `logger of sseModule must have the methods ${methods}; add ${missing}`);
  }
}

function bindFacade(
  load: ContainerModuleLoadOptions,
  onInconsistency: InconsistencyListener | undefined,
  options: ResolvedSseOptions,
): void {
  load
    .bind(SseService)
    .toResolvedValue(
      (store, coordinator, policy, logger, telemetry, audit, authorizer) => {
        const parts = { options, store, coordinator, logger, audit, policy, authorizer };
        const maintenance = new Maintenance({ ...parts, telemetry: telemetry.maintenance, onInconsistency });
        const consistency = maintenance.reconciler;
        const service = new DistributedSseService({ ...parts, telemetry, consistency, maintenance });
        maintenance.start(connectionProbes(service.node));
        // The node id is opaque, since clients see it.
        const facts = { nodeId: options.node.id, cluster: coordinator.kind, host: hostname(), pid: process.pid };
        logger.info('this process is a node', facts);
        return service;
      },
      [ConnectionStore, ClusterCoordinator, ResiliencePolicy, Logger, Telemetry, Audit, Authorizer],
    )
    .inSingletonScope()
    .onDeactivation(service => service.close());
}

function telemetryOf({ node, telemetry, redis }: ResolvedSseOptions): Telemetry {
  if (!telemetry.enabled) return new SilentTelemetry();
  return new OpenTelemetry({ ...telemetry, nodeId: node.id, formatId: formatCursor, server: serverOf(redis) });
}

/** Host and port alone: the address may have a password. */
function serverOf({ enabled, url }: ResolvedSseOptions['redis']): ServerAddress | undefined {
  if (!enabled || url === undefined || !URL.canParse(url)) return undefined;
  const { hostname, port } = new URL(url);
  return hostname === '' ? undefined : { address: hostname, port: port === '' ? 6379 : Number(port) };
}

function bindService<T>(
  load: ContainerModuleLoadOptions,
  identifier: ServiceIdentifier<T>,
  override: Override<T> | undefined,
  create: () => T,
): void {
  if (override === undefined) load.bind(identifier).toResolvedValue(create).inSingletonScope();
  else bindOverride(load, identifier, override);
}

function bindCoordinator(
  load: ContainerModuleLoadOptions,
  override: Override<ClusterCoordinator> | undefined,
  options: ResolvedSseOptions,
): void {
  if (override === undefined && options.redis.enabled) {
    load
      .bind(ClusterCoordinator)
      .toResolvedValue(
        (logger, { maintenance }) => new RedisCoordinator(options, logger, maintenance),
        [Logger, Telemetry],
      )
      .inSingletonScope();
    return;
  }
  const create = (): ClusterCoordinator =>
    new LocalCoordinator(options.node.id, options.connection, new MemoryBus(options.history.maxBytes));
  bindService(load, ClusterCoordinator, override, create);
}

function bindPolicy(
  load: ContainerModuleLoadOptions,
  { resiliencePolicy: override, clusterCoordinator }: SseOverrides,
  options: ResolvedSseOptions,
): void {
  // One process alone has no cluster whose calls could be late or fail.
  const alone = !options.redis.enabled && clusterCoordinator === undefined;
  const chosen = override ?? (alone ? PassthroughPolicy : undefined);
  if (chosen !== undefined) {
    bindOverride(load, ResiliencePolicy, chosen);
    return;
  }
  load
    .bind(ResiliencePolicy)
    .toResolvedValue(
      (logger, { maintenance }) => new CockatielPolicy(options, policyObserver(logger, maintenance)),
      [Logger, Telemetry],
    )
    .inSingletonScope();
}

function bindOverride<T>(
  { bind }: ContainerModuleLoadOptions,
  identifier: ServiceIdentifier<T>,
  override: Override<T>,
): void {
  if (isClass(override)) bind(identifier).to(override).inSingletonScope();
  else bind(identifier).toConstantValue(override);
}

function isClass<T>(override: Override<T>): override is Newable<T> {
  return typeof override === 'function';
}
