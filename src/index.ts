export { LocalCoordinator } from './cluster/memory/coordinator.js';
export { MemoryBus } from './cluster/memory/bus.js';
export { sseModule } from './container.js';
export { Audit, Logger } from './contracts/logger.js';
export { Authorizer } from './contracts/authorization.js';
export { ClusterCoordinator } from './contracts/cluster.js';
export { ConnectionStore } from './contracts/store.js';
export { ResiliencePolicy } from './contracts/policy.js';
export { SseService } from './contracts/service.js';
export { SseController, SseEndpoint } from './koa/endpoints.js';
export { SseError } from './errors.js';
export { sseMiddleware } from './koa/middleware.js';
export { ResolvedSseOptions } from './options/sse-options.js';
export { CockatielPolicy, PassthroughPolicy } from './resilience/policies.js';
export { drainOnSignals } from './node/drain.js';
export { connectionIdOf, privateName } from './protocol/names.js';
export { TicketGuard } from './node/tickets.js';
export { MemoryConnectionStore } from './node/store.js';
export { ConsoleLogger } from './telemetry/telemetry.js';
export { sseResponseHook } from './telemetry/connections.js';

export type { TakeoverLimit } from './cluster/memory/routes.js';
export type { Override, SseOverrides } from './container.js';
export type { LibraryCloseReason } from './close-reasons.js';
export type { AuditEvent, AuditListener, AuditRecord, AuditSubject, LogFields } from './contracts/logger.js';
export type { CloseReason } from './contracts/connection.js';
export type {
  Backlog,
  CoordinatorStatus,
  Impairment,
  EventLog,
  Locks,
  Message,
  NodeInfo,
  NodeMessenger,
  Presence,
  Publication,
  PublicationResult,
  Registration,
  RegistrationResult,
  RememberedTopic,
  ReplayPage,
  ReplayRequest,
  Retention,
  Route,
  RouteRegistry,
  SentMessage,
  SubscriptionChange,
} from './contracts/cluster.js';
export type { ClusterListener, NodeMessage, Registered, RememberedOutcome } from './contracts/listener.js';
export type {
  Inconsistency,
  InconsistencyListener,
  LeakProbe,
  ReconcileReport,
  ReconcileRequest,
  SelfCheck,
} from './contracts/self-check.js';
export type { ConnectionSink, SinkListener } from './contracts/connection.js';
export type { DirectMessage, LocalConnection } from './contracts/store.js';
export type { Cursor, Frame, Position } from './contracts/events.js';
export type {
  BroadcastOptions,
  ClusterSendOptions,
  ConnectionFilter,
  ConnectionInfo,
  ConnectionOptions,
  DrainOptions,
  Health,
  HealthReason,
  HealthReasonCode,
  PublishOptions,
  ResumableSource,
  SendOptions,
  Tickets,
} from './contracts/service.js';
export type { Gap, ResetReason } from './contracts/events.js';
export type {
  BroadcastReceipt,
  CloseReceipt,
  CommandReceipt,
  ConfirmationReport,
  FanOut,
  LocalReceipt,
  LocalResult,
  Outcome,
  PublishReceipt,
  PublishResult,
  Receipt,
  SendResult,
  Unavailable,
} from './contracts/events.js';
export type { RefusalReason, ResilienceObserver } from './contracts/policy.js';
export type { CircuitState, OperationContext, OperationKind } from './contracts/policy.js';
export type { Reset, ResetClient, ResetHook } from './contracts/connection.js';
export type { ConnectionState, SseConnection } from './contracts/connection.js';
export type { EventMap, EventOptions, SseEvent } from './contracts/events.js';
export type {
  Admission,
  AuthorizedClient,
  Grant,
  RegistrationLimits,
  Revocation,
  RevocationOptions,
  RevocationSelector,
  SharedLimit,
  SseGuard,
  SseRequest,
  Verdict,
} from './contracts/authorization.js';
export type { EndpointRequest, GuardOptions, SseEndpointOptions } from './koa/endpoints.js';
export type { SseErrorCode, SseErrorOptions, UnavailableCode } from './errors.js';
export type { ControllerClass, MatchingOptions } from './koa/routes.js';
export type { ConnectOptions, SseContext } from './koa/stream-request.js';
export type { SseMiddlewareOptions } from './koa/middleware.js';
export type { EnvironmentOption } from './options/sse-options.js';
export type { SseOptions } from './options/sse-options.js';
export type { CockatielPolicySettings } from './resilience/policies.js';
export type { ClosableServer, DrainOnSignalsOptions } from './node/drain.js';
export type { LogLevel } from './telemetry/telemetry.js';
