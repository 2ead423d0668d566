import type { CloseReason } from './close-reason.js';
import type { Delivery } from './connection-store.js';
import type { Frame, Position } from './frame.js';
import type { Hole } from './hole.js';

/** A registered connection of this node. */
export interface Registered {
  readonly connectionId: string;
  readonly token: string;
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
  onMessage(
    connectionId: string,
    token: string,
    messageId: string,
    frame: Frame,
    trace?: string,
  ): Delivery;
  /**
   * An event for the subscribers of a topic, or, without a topic, for everyone.
   * @param trace as the publisher gave it; absent for what is caught up from the log
   */
  onPublication(topic: string | undefined, frame: Frame, trace?: string): void;
  /**
   * What comes next does not follow what came last: tell whom it concerns. `EPOCH` and `AHEAD` concern all topics and mean
   * another log, in which the stream goes on at `resumedFrom`.
   */
  onHole(hole: Hole): void;
  /** Another registration took the id over; close the connection with this token. */
  onSuperseded(connectionId: string, token: string): void;
  /** Another node repaired something, which may concern this one: look soon whether all is well here. */
  onSync(): void;
  /** Close the connection. Returns whether one was open. */
  onClose(connectionId: string, reason: CloseReason): boolean;
  /** Close every connection of this node. */
  onCloseAll(reason: CloseReason): void;
  /**
   * Subscribe or unsubscribe the connection. Resolves to whether it is here, once the topic's feed runs, so that nothing
   * published afterwards is missed.
   */
  onSubscribe(connectionId: string, topic: string): Promise<boolean>;
  onUnsubscribe(connectionId: string, topic: string): boolean;
  /**
   * Whether a connection of this node was given everything of the log up to a place. Waits for it, about a second at most;
   * `undefined`: not yet, or it is not here.
   */
  onConfirm(
    connectionId: string,
    position: Position,
  ): Promise<'delivered' | 'buffered' | undefined>;
  /** The connections of this node that are subscribed to the topic. */
  onPresence(topic: string): readonly string[];
  /** Whether a connection of this node is subscribed to the topic, be it still opening. */
  follows(topic: string): boolean;
  /** The connections of this node that the cluster should know. */
  registered(): Iterable<Registered>;
  /** Whether this node has a connection with that id and token, be it still opening. */
  holds(connectionId: string, token: string): boolean;
}
