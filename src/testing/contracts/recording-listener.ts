import type { Revocation } from '../../contracts/authorization.js';
import type { CloseReason } from '../../contracts/connection.js';
import type { CommandReceipt, ConfirmationReport, Frame, Gap, LocalResult, Position } from '../../contracts/events.js';
import type { ClusterListener, NodeMessage, Registered, RememberedOutcome } from '../../contracts/listener.js';

/** A node as its coordinator sees it: records every call and answers as the test sets. */
export class RecordingListener implements ClusterListener {
  readonly messages: {
    connectionId: string;
    token: string;
    messageId: string;
    text: string;
    trace?: string;
  }[] = [];
  readonly publications: {
    topic: string | undefined;
    frame: Frame;
    text: string;
    trace?: string;
    id?: string;
  }[] = [];
  readonly gaps: { gap: Gap; after: number }[] = [];
  readonly questions: { connectionId: string; position: Position }[] = [];
  readonly reports: ConfirmationReport[] = [];
  /** Which reports it accepts. */
  confirmationToken = 'token';
  reached: 'delivered' | 'buffered' | undefined = 'delivered';
  syncs = 0;
  /** What it remembers of messages, by `<connection id> <message id>`. */
  readonly outcomes = new Map<string, RememberedOutcome>();
  /** The sources this node runs. */
  readonly sources = new Set<string>();
  readonly superseded: { connectionId: string; token: string; trace?: string }[] = [];
  readonly closed: { connectionId: string; reason: CloseReason }[] = [];
  readonly closedAll: CloseReason[] = [];
  readonly revocations: (Revocation & { trace?: string })[] = [];
  /** Of each command to close, in the order in which they came. */
  readonly closeTraces: (string | undefined)[] = [];
  readonly subscriptions = new Map<string, Set<string>>();
  /** The connections this node has. */
  readonly connections = new Map<string, string>();
  /** The fencing tokens of some of them; the others have the smallest. */
  readonly fencingTokens = new Map<string, number>();
  /** Those that are not its own yet, as `<id> <token>`. */
  readonly opening = new Set<string>();
  answer: (connectionId: string, messageId: string) => LocalResult = () => ({ outcome: 'delivered' });

  /** Forgets every call and connection, and answers as a new one. */
  reset(): void {
    Object.assign(this, new RecordingListener());
  }

  onMessages(messages: readonly NodeMessage[]): LocalResult[] {
    return messages.map(({ connectionId, token, messageId, frame, trace }) =>
      this.onMessage(connectionId, token, messageId, frame, trace),
    );
  }

  onMessage(connectionId: string, token: string, messageId: string, frame: Frame, trace?: string): LocalResult {
    const text = frame.bytes.toString();
    this.messages.push({ connectionId, token, messageId, text, ...carried(trace) });
    return this.answer(connectionId, messageId);
  }

  onPublication(topic: string | undefined, frame: Frame, trace?: string, id?: string): void {
    const named = id === undefined ? {} : { id };
    this.publications.push({ topic, frame, text: frame.bytes.toString(), ...carried(trace), ...named });
  }

  onGap(gap: Gap): void {
    this.gaps.push({ gap, after: this.publications.length });
  }

  onSync(): void {
    this.syncs += 1;
  }

  onSuperseded(connectionId: string, token: string, fencingToken: number, trace?: string): void {
    if ((this.fencingTokens.get(connectionId) ?? 1) >= fencingToken) return;
    this.superseded.push({ connectionId, token, ...carried(trace) });
    if (this.connections.get(connectionId) === token) this.connections.delete(connectionId);
  }

  onClose(connectionId: string, reason: CloseReason, trace?: string): number {
    this.closeTraces.push(trace);
    this.closed.push({ connectionId, reason });
    return this.connections.delete(connectionId) ? 1 : 0;
  }

  onRevoke(revocation: Revocation, trace?: string): number {
    this.revocations.push({ ...revocation, ...carried(trace) });
    return 1;
  }

  onCloseAll(reason: CloseReason, trace?: string): number {
    this.closeTraces.push(trace);
    const { size } = this.connections;
    this.closedAll.push(reason);
    this.connections.clear();
    return size;
  }

  async onSubscribe(connectionId: string, topic: string): Promise<boolean> {
    if (!this.connections.has(connectionId)) return false;
    const subscribers = this.subscriptions.get(topic) ?? new Set();
    this.subscriptions.set(topic, subscribers.add(connectionId));
    return true;
  }

  async onUnsubscribe(connectionId: string, topic: string): Promise<boolean> {
    this.subscriptions.get(topic)?.delete(connectionId);
    return this.connections.has(connectionId);
  }

  async hasReached(connectionId: string, position: Position): Promise<'delivered' | 'buffered' | undefined> {
    this.questions.push({ connectionId, position: { ms: position.ms, sequence: position.sequence } });
    return this.connections.has(connectionId) ? this.reached : undefined;
  }

  onConfirm(report: ConfirmationReport): CommandReceipt {
    if (!this.connections.has(report.connectionId)) return { outcome: 'not-connected' };
    if (report.token !== this.confirmationToken) return { outcome: 'rejected', code: 'FORBIDDEN' };
    this.reports.push(report);
    return { outcome: 'delivered' };
  }

  async isConfirmed(connectionId: string, messageId: string): Promise<boolean> {
    return this.connections.has(connectionId) && this.reports.some(({ handled }) => handled.includes(messageId));
  }

  onOutcomeOf(connectionId: string, messageId: string): RememberedOutcome {
    return this.outcomes.get(`${connectionId} ${messageId}`) ?? 'none';
  }

  onEndSource(key: string): Promise<boolean> {
    return Promise.resolve(this.sources.delete(key));
  }

  onPresence(topic: string): readonly string[] {
    return [...(this.subscriptions.get(topic) ?? [])];
  }

  follows(topic: string): boolean {
    return (this.subscriptions.get(topic)?.size ?? 0) > 0;
  }

  holds(connectionId: string, token: string): boolean {
    return this.connections.get(connectionId) === token || this.opening.has(`${connectionId} ${token}`);
  }

  *registered(): Iterable<Registered> {
    for (const [connectionId, token] of this.connections) {
      yield { connectionId, token, fencingToken: this.fencingTokens.get(connectionId) ?? 1 };
    }
  }
}

function carried(trace: string | undefined): { trace?: string } {
  return trace === undefined ? {} : { trace };
}
