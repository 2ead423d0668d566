import type { Audit, AuditEvent, AuditListener, AuditSubject, Logger } from '../contracts/logger.js';
import { SseError, statusOf } from '../errors.js';

/** The audit records of one node. */
export class AuditTrail implements Audit {
  constructor(
    private readonly nodeId: string,
    private readonly logger: Logger,
    private readonly listener: AuditListener | undefined,
  ) {}

  get on(): boolean {
    return this.listener !== undefined;
  }

  record(event: AuditEvent): void {
    try {
      this.listener?.({ ...event, at: Date.now(), nodeId: this.nodeId });
    } catch (error) {
      this.logger.error('onAudit must not throw; the record is lost', { kind: event.kind, error });
    }
  }

  refused(subject: AuditSubject, error: unknown): void {
    const code = SseError.is(error) ? error.code : 'INTERNAL';
    const limit = SseError.is(error) ? error.limit : undefined;
    const facts = { ...subject, code, status: SseError.is(error) ? error.status : statusOf(error) };
    this.record(limit === undefined ? { kind: 'refuse', ...facts } : { kind: 'limit', ...facts, limit });
  }
}
