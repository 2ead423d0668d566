import type { FanOut, Frame, LocalResult } from '../contracts/events.js';
import type { ConnectionStore, LocalConnection } from '../contracts/store.js';

const NONE: ReadonlySet<LocalConnection> = new Set();

/** The connections of one node in maps: by id, by topic, and, while they open, by token. */
export class MemoryConnectionStore implements ConnectionStore {
  readonly #owners = new Map<string, LocalConnection>();
  readonly #opening = new Map<string, LocalConnection>();
  readonly #topics = new Map<string, Set<LocalConnection>>();

  get size(): number {
    return this.#owners.size;
  }

  get opening(): number {
    return this.#opening.size;
  }

  add(connection: LocalConnection): void {
    if (this.#stores(connection)) return;
    this.#opening.set(connection.token, connection);
    for (const topic of connection.topics) this.#index(connection, topic);
  }

  promote(connection: LocalConnection): LocalConnection | undefined {
    if (!this.#opening.delete(connection.token)) return undefined;
    const displaced = this.#owners.get(connection.id);
    // Deleted first, so that the newcomer stands last in the order of age.
    if (displaced !== undefined) this.remove(displaced);
    this.#owners.set(connection.id, connection);
    return displaced;
  }

  remove(connection: LocalConnection): boolean {
    if (!this.#stores(connection)) return false;
    if (this.#owners.get(connection.id) === connection) this.#owners.delete(connection.id);
    else this.#opening.delete(connection.token);
    for (const topic of connection.topics) this.#unindex(connection, topic);
    return true;
  }

  get(connectionId: string): LocalConnection | undefined {
    return this.#owners.get(connectionId);
  }

  find(connectionId: string, token: string): LocalConnection | undefined {
    const owner = this.#owners.get(connectionId);
    if (owner?.token === token) return owner;
    const opening = this.#opening.get(token);
    return opening?.id === connectionId ? opening : undefined;
  }

  *connections(): Iterable<LocalConnection> {
    yield* this.#owners.values();
    yield* this.#opening.values();
  }

  subscribe(connection: LocalConnection, topic: string): boolean {
    if (!this.#stores(connection) || connection.topics.has(topic)) return false;
    connection.addTopic(topic);
    this.#index(connection, topic);
    return true;
  }

  unsubscribe(connection: LocalConnection, topic: string): boolean {
    if (!this.#stores(connection) || !connection.topics.has(topic)) return false;
    connection.removeTopic(topic);
    this.#unindex(connection, topic);
    return true;
  }

  subscribers(topic: string): Iterable<LocalConnection> {
    return this.#topics.get(topic) ?? NONE;
  }

  topics(): Iterable<string> {
    return this.#topics.keys();
  }

  deliverToAll(frame: Frame): FanOut {
    const counts = new FanOutCounts();
    for (const connection of this.#owners.values()) counts.add(connection, frame);
    for (const connection of this.#opening.values()) counts.add(connection, frame);
    return counts;
  }

  deliverToTopic(topic: string, frame: Frame): FanOut {
    const counts = new FanOutCounts();
    for (const connection of this.subscribers(topic)) counts.add(connection, frame);
    return counts;
  }

  #stores(connection: LocalConnection): boolean {
    return this.#owners.get(connection.id) === connection || this.#opening.get(connection.token) === connection;
  }

  #index(connection: LocalConnection, topic: string): void {
    const subscribers = this.#topics.get(topic);
    if (subscribers === undefined) this.#topics.set(topic, new Set([connection]));
    else subscribers.add(connection);
  }

  #unindex(connection: LocalConnection, topic: string): void {
    const subscribers = this.#topics.get(topic);
    subscribers?.delete(connection);
    if (subscribers?.size === 0) this.#topics.delete(topic);
  }
}

class FanOutCounts implements FanOut {
  delivered = 0;
  buffered = 0;
  rejected = 0;

  /** Gives one connection the frame and counts the outcome. */
  add(connection: LocalConnection, frame: Frame): void {
    switch (outcomeOf(connection, frame)) {
      case 'delivered':
        this.delivered += 1;
        break;
      case 'buffered':
        this.buffered += 1;
        break;
      case 'rejected':
      case 'not-connected':
        this.rejected += 1;
        break;
    }
  }
}

function outcomeOf(connection: LocalConnection, frame: Frame): LocalResult['outcome'] {
  try {
    return connection.enqueue(frame).outcome;
  } catch {
    // A connection that breaks its contract must not keep the frame from the others. It counts as rejected.
    return 'rejected';
  }
}
