import type { ServiceIdentifier } from 'inversify';
import type { SseErrorCode } from '../errors.js';

/** Facts that belong to a log line. Values are plain data. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Receives background failures and notable changes. No method may throw or block. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export const Logger: ServiceIdentifier<Logger> = Symbol.for('distributed-sse/Logger');

/** Who an audit record is about. A part that is not known is absent. */
export interface AuditSubject {
  /** As the cluster knows the connection. */
  readonly connectionId?: string | undefined;
  readonly user?: string | undefined;
  /** From where the client connects. */
  readonly address?: string | undefined;
}

/**
 * What happened. Each happening has one record, on one node:
 *
 * | kind | node that reports it |
 * |---|---|
 * | `connect` | the node that opened the stream |
 * | `refuse` | the node that refused a request for a stream |
 * | `limit` | the same, where a limit was the reason: `limit` is the path of its setting |
 * | `takeover` | the node whose stream was superseded |
 * | `expire` | the node whose stream ended because its credentials ran out |
 * | `revoke` | the node on which `revoke` was called |
 * | `action` | the node on which an operator did something by the console: `action` names it, `by` is the operator |
 */
export type AuditEvent = AuditSubject &
  (
    | { readonly kind: 'connect'; readonly topics: readonly string[] }
    | { readonly kind: 'refuse'; readonly code: SseErrorCode; readonly status: number }
    | { readonly kind: 'limit'; readonly code: SseErrorCode; readonly status: number; readonly limit: string }
    | { readonly kind: 'takeover' | 'expire' }
    | {
        readonly kind: 'revoke';
        /** The topics that were revoked; absent: the whole stream. */
        readonly topics?: readonly string[] | undefined;
        readonly reason: string;
        readonly cut: boolean;
        /** How many streams were ended or narrowed. */
        readonly closed: number;
        /** The ids of the nodes that did not answer. */
        readonly missing: readonly string[];
      }
    | {
        readonly kind: 'action';
        readonly action: string;
        /** What it was done to. */
        readonly target: string;
        readonly outcome: string;
        readonly by?: string | undefined;
      }
  );

/** An {@link AuditEvent} with its time by `Date.now()` and its node. It never has the data of an event. */
export type AuditRecord = AuditEvent & { readonly at: number; readonly nodeId: string };

/** Gets every record of this node, synchronously. What it throws is logged, and changes nothing. */
export type AuditListener = (record: AuditRecord) => void;

/** Reports to the listener that the application gave as `onAudit`. */
export interface Audit {
  /** Whether there is a listener; without one nothing need be found out for a record. */
  readonly on: boolean;
  record(event: AuditEvent): void;
  /** A request for a stream was refused: a `limit` where a limit was the reason, else a `refuse`. */
  refused(subject: AuditSubject, error: unknown): void;
}

export const Audit: ServiceIdentifier<Audit> = Symbol.for('distributed-sse/Audit');
