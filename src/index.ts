export { LocalCoordinator } from './cluster/local-coordinator.js';
export { MemoryBus } from './cluster/memory-bus.js';
export { sseModule } from './container/sse-module.js';
export { ClusterCoordinator } from './contracts/cluster-coordinator.js';
export { ConnectionStore } from './contracts/connection-store.js';
export { Logger } from './contracts/logger.js';
export { ResiliencePolicy } from './contracts/resilience-policy.js';
export { SseService } from './contracts/sse-service.js';
export { SseController } from './decorators/sse-controller.js';
export { SseEndpoint } from './decorators/sse-endpoint.js';
export { SseError } from './errors/sse-error.js';
export { sseMiddleware } from './koa/sse-middleware.js';
export { ResolvedSseOptions } from './options/sse-options.js';
export { CockatielPolicy } from './resilience/cockatiel-policy.js';
export { PassthroughPolicy } from './resilience/passthrough-policy.js';
export { drainOnSignals } from './service/drain-on-signals.js';
export { MemoryConnectionStore } from './store/memory-connection-store.js';
export { ConsoleLogger } from './telemetry/console-logger.js';
export { sseResponseHook } from './telemetry/http-server-span.js';

export type { TakeoverLimit } from './cluster/memory-bus.js';
export type { Override, SseOverrides } from './container/sse-module.js';
export type { CloseReason, LibraryCloseReason } from './contracts/close-reason.js';
export type {
  CoordinatorStatus,
  Message,
  NodeInfo,
  Presence,
  Publication,
  PublicationResult,
  Registration,
  RegistrationResult,
  ReplayPage,
  ReplayRequest,
  Retention,
  Route,
} from './contracts/cluster-coordinator.js';
export type { ClusterListener, Registered } from './contracts/cluster-listener.js';
export type {
  ConsistencyReport,
  ConsistencyRequest,
  Inconsistency,
  InconsistencyKind,
  InconsistencyListener,
} from './contracts/consistency.js';
export type { ConnectionSink, SinkListener } from './contracts/connection-sink.js';
export type { Delivery, LocalConnection } from './contracts/connection-store.js';
export type { Cursor, Frame, Position } from './contracts/frame.js';
export type { Health, HealthReason, HealthReasonCode } from './contracts/health.js';
export type { Hole, ResetReason } from './contracts/hole.js';
export type { LeakProbe } from './contracts/leak-probe.js';
export type { LogFields } from './contracts/logger.js';
export type {
  BroadcastReceipt,
  FanOut,
  LocalReceipt,
  PublishReceipt,
  Receipt,
  SendResult,
} from './contracts/receipt.js';
export type { RefusalReason, ResilienceObserver } from './contracts/resilience-observer.js';
export type {
  CircuitState,
  OperationContext,
  OperationKind,
} from './contracts/resilience-policy.js';
export type { Reset, ResetClient, ResetHook } from './contracts/reset.js';
export type { ResumableSource } from './contracts/resumable-source.js';
export type { ConnectionState, SseConnection } from './contracts/sse-connection.js';
export type { EventMap, EventOptions, SseEvent } from './contracts/sse-event.js';
export type { SseGuard, SseRequest } from './contracts/sse-request.js';
export type {
  ClusterSendOptions,
  ConnectionOptions,
  DrainOptions,
  PublishOptions,
  SendOptions,
} from './contracts/sse-service.js';
export type { GuardOptions, SseEndpointOptions } from './decorators/endpoint-metadata.js';
export type { SseErrorCode, SseErrorOptions } from './errors/sse-error.js';
export type { ControllerClass } from './koa/endpoint-route.js';
export type { ConnectOptions, SseContext } from './koa/koa-context.js';
export type { SseMiddlewareOptions } from './koa/sse-middleware.js';
export type { SseOptions } from './options/sse-options.js';
export type { CockatielPolicySettings } from './resilience/cockatiel-policy.js';
export type { DrainOnSignalsOptions } from './service/drain-on-signals.js';
export type { LogLevel } from './telemetry/console-logger.js';
