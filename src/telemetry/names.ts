import { isLibraryReason, type LibraryCloseReason } from '../close-reasons.js';
import type { CloseReason } from '../contracts/connection.js';

/** Name and version under which everything is reported. */
export const SCOPE = { name: 'distributed-sse', version: '0.1.0' } as const;

/** The spans of this library. */
export const SPAN_NAMES = [
  'sse.connect',
  'sse.replay',
  'sse.close',
  'sse.send',
  'sse.route',
  'sse.deliver',
  'sse.broadcast',
  'sse.publish',
  'sse.cleanup',
  'sse.consistency',
  'sse.drain',
  'sse.command',
] as const;

export type SpanName = (typeof SPAN_NAMES)[number];

/**
 * Names of attributes. Those that do not begin with `sse.` are of the semantic conventions (messaging, incubating there:
 * https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/; errors and servers, stable), copied because the package
 * that holds them promises nothing for the incubating ones.
 */
export const ATTRIBUTE = {
  nodeId: 'sse.node.id',
  ownerNodeId: 'sse.owner.node.id',
  connectionId: 'sse.connection.id',
  eventName: 'sse.event.name',
  topic: 'sse.topic',
  topics: 'sse.topics',
  sourceKey: 'sse.source.key',
  scope: 'sse.scope',
  command: 'sse.command.name',
  missingNodes: 'sse.nodes.missing',
  outcome: 'sse.outcome',
  duplicate: 'sse.duplicate',
  fanOutDelivered: 'sse.fanout.delivered',
  fanOutBuffered: 'sse.fanout.buffered',
  fanOutRejected: 'sse.fanout.rejected',
  nodes: 'sse.nodes',
  connections: 'sse.connections',
  degraded: 'sse.degraded',
  closeReason: 'sse.close.reason',
  age: 'sse.connection.age',
  resetReason: 'sse.reset.reason',
  entries: 'sse.replay.entries',
  cleanupKind: 'sse.cleanup.kind',
  removed: 'sse.cleanup.removed',
  checked: 'sse.consistency.checked',
  found: 'sse.consistency.found',
  repairs: 'sse.consistency.repairs',
  repairKind: 'sse.repair.kind',
  leakKind: 'sse.leak.kind',
  operation: 'sse.operation',
  refusalReason: 'sse.refusal.reason',
  redisCommand: 'sse.redis.command',
  statistic: 'sse.statistic',
  errorType: 'error.type',
  serverAddress: 'server.address',
  serverPort: 'server.port',
  messagingSystem: 'messaging.system',
  messagingOperation: 'messaging.operation.name',
  messagingOperationType: 'messaging.operation.type',
  messagingMessageId: 'messaging.message.id',
  messagingDestination: 'messaging.destination.name',
  messagingTemporary: 'messaging.destination.temporary',
  messagingEnvelopeSize: 'messaging.message.envelope.size',
} as const;

/** The label of a close reason. All reasons of the application share the label `custom`, since their number is unbounded. */
export function countedReason(reason: CloseReason): LibraryCloseReason | 'custom' {
  return isLibraryReason(reason) ? reason : 'custom';
}
