import { NOT_CONNECTED, presentOutcome } from '../connection/direct-send.js';
import type { ClusterListener, NodeMessage, Registered, RememberedOutcome } from '../contracts/listener.js';
import type { Revocation } from '../contracts/authorization.js';
import type { CloseReason } from '../contracts/connection.js';
import type {
  CommandReceipt,
  ConfirmationReport,
  FanOut,
  Frame,
  Gap,
  LocalResult,
  Position,
} from '../contracts/events.js';
import type { ConnectionStore, LocalConnection } from '../contracts/store.js';
import type { Addressee } from '../contracts/telemetry.js';
import { isMailbox, isReserved, isSourceTopic, mailboxOwner, mailboxTopic, sourceKey } from '../protocol/names.js';
import { pause } from '../time.js';
import type { SseNode } from './node.js';
import type { Arrival, LocalCopies } from './publish.js';
import type { ResumableSources } from './sources.js';
import type { Revocations } from './revocations.js';
import type { Subscriptions } from './subscriptions.js';

/** The entry has usually arrived before the question whether it has, so a poll is rare. */
const POLL_MS = 10;
const LONGEST_WAIT_MS = 1_000;

/** Carries out on the store of this node what the cluster asks of it. */
export class NodeListener implements ClusterListener {
  constructor(
    private readonly node: SseNode,
    private readonly subscriptions: Subscriptions,
    private readonly revocations: Pick<Revocations, 'carryOut'>,
    private readonly sources: ResumableSources,
    private readonly copies: LocalCopies,
  ) {}

  onMessage(connectionId: string, token: string, messageId: string, frame: Frame, trace?: string): LocalResult {
    const { store, telemetry } = this.node;
    const connection = store.find(connectionId, token);
    return telemetry.events.delivering(
      { connectionId, messageId, connection, size: frame.bytes.length, trace },
      () => connection?.deliverOnce(messageId, frame) ?? NOT_CONNECTED,
    );
  }

  onMessages(messages: readonly NodeMessage[]): readonly LocalResult[] {
    const { store, telemetry } = this.node;
    const results: LocalResult[] = [];
    const groups = new Map<LocalConnection, number[]>();
    for (const [at, { connectionId, token, messageId, frame, trace }] of messages.entries()) {
      const connection = messages.length === 1 ? undefined : store.find(connectionId, token);
      const group = connection && groups.get(connection);
      if (group !== undefined) group.push(at);
      else if (connection !== undefined) groups.set(connection, [at]);
      else results[at] = this.onMessage(connectionId, token, messageId, frame, trace);
    }
    for (const [connection, group] of groups) {
      const some = group.flatMap(at => messages[at] ?? []);
      const delivered = connection.deliverAll(some);
      for (const [number, { connectionId, messageId, frame, trace }] of some.entries()) {
        const subject = { connectionId, messageId, connection, size: frame.bytes.length, trace };
        results[group[number] ?? 0] = telemetry.events.delivering(subject, () => delivered[number] ?? NOT_CONNECTED);
      }
    }
    return results;
  }

  onPublication(topic: string | undefined, frame: Frame, trace?: string, id?: string): void {
    if (topic !== undefined && isReserved(topic)) {
      this.node.reserved?.onPublication(topic, frame.bytes);
      return;
    }
    const { store, telemetry } = this.node;
    const late = topic === undefined ? this.copies.arrive(id, frame) : undefined;
    telemetry.events.fanningOut(
      { to: addresseeOf(topic, store), size: frame.bytes.length, position: frame.position, trace },
      () => {
        if (late !== undefined) return this.#deliverLate(frame, late);
        return topic === undefined ? store.deliverToAll(frame) : this.subscriptions.deliver(topic, frame);
      },
    );
    if (topic !== undefined && isSourceTopic(topic)) this.sources.onEntry(topic, frame);
  }

  onGap(gap: Gap): void {
    // A copy, because a connection whose send buffer overflows is removed from the store.
    for (const connection of [...this.node.store.connections()]) connection.reportGap(gap);
  }

  onSync(): void {
    this.node.consistency?.runSoon();
  }

  onSuperseded(connectionId: string, token: string, fencingToken: number, trace?: string): void {
    const connection = this.node.store.find(connectionId, token);
    if (connection === undefined || (connection.fencingToken ?? 0) >= fencingToken) return;
    this.#close([connection], 'superseded', trace);
  }

  /** Closes a connection that still opens as well: its route may be known, and its client must not get in after the close. */
  onClose(connectionId: string, reason: CloseReason, trace?: string): number {
    const owner = this.node.store.get(connectionId);
    return this.#close(owner === undefined ? this.#opening(connectionId) : [owner], reason, trace);
  }

  onCloseAll(reason: CloseReason, trace?: string): number {
    return this.#close([...this.node.store.connections()], reason, trace);
  }

  onRevoke(revocation: Revocation, trace?: string): number {
    return this.node.telemetry.connections.closing(trace, () => this.revocations.carryOut(revocation));
  }

  async onSubscribe(connectionId: string, topic: string): Promise<boolean> {
    const connection = this.node.connectionOf(connectionId);
    return connection !== undefined && this.subscriptions.add(connection, topic);
  }

  async onUnsubscribe(connectionId: string, topic: string): Promise<boolean> {
    const connection = this.node.connectionOf(connectionId);
    return connection !== undefined && this.subscriptions.remove(connection, topic);
  }

  async hasReached(connectionId: string, position: Position): Promise<'delivered' | 'buffered' | undefined> {
    const until = performance.now() + LONGEST_WAIT_MS;
    for (;;) {
      const connection = this.node.store.get(connectionId);
      // An entry of the mailbox reaches only a connection that follows the mailbox.
      if (connection?.topics.has(mailboxTopic(connectionId)) !== true) return undefined;
      if (connection.wasRefused(position)) return undefined;
      if (connection.hasReached(position)) return writtenBy(connection);
      if (performance.now() >= until) return undefined;
      await pause(POLL_MS);
    }
  }

  onConfirm(report: ConfirmationReport): CommandReceipt {
    const { confirmations, store } = this.node;
    return confirmations?.report(store.get(report.connectionId), report) ?? { outcome: 'not-connected' };
  }

  async isConfirmed(connectionId: string, messageId: string, ms: number): Promise<boolean> {
    return this.node.confirmations?.isConfirmed(this.node.connectionOf(connectionId), messageId, ms) ?? false;
  }

  onOutcomeOf(connectionId: string, messageId: string, age: number): RememberedOutcome {
    const { node } = this;
    const now = performance.now();
    const present = node.store.get(connectionId)?.results?.recall(messageId, now);
    const outcome = (present ?? node.environment.memories.recall(connectionId, messageId, now))?.outcome;
    if (outcome === 'delivered' || outcome === 'buffered') return outcome;
    return now - age < node.createdAt ? 'unknown' : 'none';
  }

  onEndSource(key: string): Promise<boolean> {
    return this.sources.end(key);
  }

  onPresence(topic: string): readonly string[] {
    const { store } = this.node;
    return [...store.subscribers(topic)]
      .filter(connection => store.get(connection.id) === connection)
      .map(({ id }) => id);
  }

  follows(topic: string): boolean {
    if (isReserved(topic)) return this.node.reserved?.follows(topic) === true;
    const [subscriber] = this.node.store.subscribers(topic);
    return subscriber !== undefined;
  }

  *registered(): Iterable<Registered> {
    if (this.node.routesReleased) return;
    for (const { id, token, user, fencingToken } of this.node.store.connections()) {
      if (fencingToken === undefined) continue;
      yield { connectionId: id, token, fencingToken, ...(user === undefined ? {} : { user }) };
    }
  }

  holds(connectionId: string, token: string): boolean {
    return !this.node.routesReleased && this.node.store.find(connectionId, token) !== undefined;
  }

  /** A broadcast of this node of which most connections have the copy that was given without the log. */
  #deliverLate(frame: Frame, { given, instead }: Arrival): FanOut {
    const counts = { delivered: 0, buffered: 0, rejected: 0 };
    // A copy, because a connection whose send buffer overflows is removed from the store.
    for (const connection of [...this.node.store.connections()]) {
      const due = connection.ordinal <= given ? instead : frame;
      const outcome = due === undefined ? 'delivered' : connection.enqueue(due).outcome;
      counts[outcome === 'not-connected' ? 'rejected' : outcome] += 1;
    }
    return counts;
  }

  #close(connections: readonly LocalConnection[], reason: CloseReason, trace: string | undefined): number {
    return this.node.telemetry.connections.closing(trace, () => {
      for (const connection of connections) connection.close(reason);
      return connections.length;
    });
  }

  #opening(connectionId: string): LocalConnection[] {
    const { store } = this.node;
    if (store.opening === 0) return [];
    return [...store.connections()].filter(({ id }) => id === connectionId);
  }
}

function writtenBy(connection: LocalConnection): 'delivered' | 'buffered' | undefined {
  const outcome = presentOutcome(connection);
  if (outcome === 'not-connected') return undefined;
  return outcome === 'delivered' ? outcome : 'buffered';
}

/** The audience of an entry of the log, by its topic. */
function addresseeOf(topic: string | undefined, store: Pick<ConnectionStore, 'get'>): Addressee {
  if (topic === undefined) return { scope: 'cluster' };
  if (isSourceTopic(topic)) return { scope: 'source', key: sourceKey(topic) };
  if (!isMailbox(topic)) return { scope: 'topic', topic };
  const connectionId = mailboxOwner(topic);
  return { scope: 'connection', connectionId, connection: store.get(connectionId) };
}
