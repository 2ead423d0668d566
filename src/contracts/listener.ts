import type { Revocation } from './authorization.js';
import type { CloseReason } from './connection.js';
import type { CommandReceipt, ConfirmationReport, Frame, Gap, LocalResult, Position } from './events.js';

/** What a node remembers of a message. */
export type RememberedOutcome = 'delivered' | 'buffered' | 'none' | 'unknown';

/** A registered connection of this node. */
export interface Registered {
  readonly connectionId: string;
  readonly token: string;
  /** As the cluster gave it. */
  readonly fencingToken: number;
  /** As registered. */
  readonly user?: string | undefined;
}

/** The arguments of {@link ClusterListener.onMessage}. */
export interface NodeMessage {
  readonly connectionId: string;
  readonly token: string;
  readonly messageId: string;
  readonly frame: Frame;
  readonly trace?: string | undefined;
}

/**
 * The way back: what the cluster asks of this node. A coordinator calls it from `start` until `close` has resolved; all
 * deliveries are synchronous, so the order of calls is the order of delivery. None throws.
 */
export interface ClusterListener {
  /**
   * An event for one connection. A message id that this connection had already gets its first answer again.
   * @param trace as the sender gave it
   */
  onMessage(connectionId: string, token: string, messageId: string, frame: Frame, trace?: string): LocalResult;
  /** As {@link onMessage} for one message after the other. Those of one connection may share a write. One result for each. */
  onMessages(messages: readonly NodeMessage[]): readonly LocalResult[];
  /**
   * An event for the subscribers of a topic, or, without a topic, for everyone.
   * @param trace as the publisher gave it
   * @param id as the publisher gave it
   */
  onPublication(topic: string | undefined, frame: Frame, trace?: string, id?: string): void;
  /**
   * Publications are lost between the last one and the next one. `EPOCH` and `AHEAD` concern all topics and mean another
   * log, in which the stream goes on at `resumedFrom`.
   */
  onGap(gap: Gap): void;
  /**
   * Another registration took the id over: close the connection with this token, unless its fencing token is not smaller. A
   * cluster that lost its newest routes may have restored an older one first.
   * @param fencingToken of the other registration
   * @param trace as the other registration gave it; anyone who may publish to Redis can have written it
   */
  onSuperseded(connectionId: string, token: string, fencingToken: number, trace?: string): void;
  /** Another node repaired a difference, and this node may have one as well: reconcile soon. */
  onSync(): void;
  /**
   * Close the connection. Returns how many streams of that id were open.
   * @param trace as the sender gave it
   */
  onClose(connectionId: string, reason: CloseReason, trace?: string): number;
  /**
   * Close every connection of this node. Returns how many there were.
   * @param trace as the sender gave it
   */
  onCloseAll(reason: CloseReason, trace?: string): number;
  /**
   * Carry out a revocation, which may come again. Returns how many streams it ended, or took a topic from.
   * @param trace as the sender gave it
   */
  onRevoke(revocation: Revocation, trace?: string): number;
  /**
   * Subscribe or unsubscribe the connection. Resolves to whether it is here, once the topic's feed runs, so that nothing
   * published afterwards is missed. Rejects with `INVALID_TOPIC` when it follows too many, and with `UNAVAILABLE`.
   */
  onSubscribe(connectionId: string, topic: string): Promise<boolean>;
  onUnsubscribe(connectionId: string, topic: string): Promise<boolean>;
  /**
   * What became of a message that was sent so many milliseconds ago, for a connection that may have ended since. `none`: this
   * node did not deliver it. `unknown`: this node did not exist then.
   */
  onOutcomeOf(connectionId: string, messageId: string, age: number): RememberedOutcome;
  /** End a resumable source. Resolves to whether it ran here, once its last event was published. */
  onEndSource(key: string): Promise<boolean>;
  /** The connections of this node that are subscribed to the topic. */
  onPresence(topic: string): readonly string[];
  /** Whether a connection of this node is subscribed to the topic, be it still opening. */
  follows(topic: string): boolean;
  /** The connections of this node that the cluster should know. */
  registered(): Iterable<Registered>;
  /** Whether this node has a connection with that id and token, be it still opening. */
  holds(connectionId: string, token: string): boolean;
  /**
   * Whether a connection of this node was given the entry of its mailbox at a position. Waits for it, about a second at
   * most; `undefined`: not yet, or it is not here, or it certainly does not get it.
   */
  hasReached(connectionId: string, position: Position): Promise<'delivered' | 'buffered' | undefined>;
  /** A client says what it has handled. `not-connected`: its connection is not here. */
  onConfirm(report: ConfirmationReport): CommandReceipt;
  /**
   * Whether the client of a connection of this node confirmed a message. Waits for that, so many milliseconds at most; `false` at
   * once for a connection that is not here, or whose client does not confirm.
   */
  isConfirmed(connectionId: string, messageId: string, ms: number): Promise<boolean>;
}

/** Follows topics that applications cannot name. Its publications reach no connection. */
export interface ReservedTopics {
  follows(topic: string): boolean;
  onPublication(topic: string, bytes: Buffer): void;
  /** The node closes. */
  close(): void;
}
