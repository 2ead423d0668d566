import type { Redis } from 'ioredis';
import { COMMAND_TIMEOUT, streamOf } from './client.js';

/** Milliseconds without a byte from a master, while calls wait, after which it counts as cut off. */
const LONGEST_SILENCE = 2 * COMMAND_TIMEOUT;

/** One hash tag whose last call got no answer. */
interface Quiet {
  readonly since: number;
  readonly connection: Redis | undefined;
  readonly bytes: number;
}

/**
 * Knows for each hash tag whether its master is silent. A late answer to one call is no silence while other bytes come: this
 * node may have asked for too much, or its event loop may have been busy. Calls that succeed cost nothing here.
 */
export class Silence {
  readonly #quiet = new Map<string, Quiet>();

  /** @param connectionOf the connection on which commands for a key go */
  constructor(private readonly connectionOf: (key: string) => Redis | undefined) {}

  /** To be called when a call for a key, begun at `since`, failed without an answer. A key without a hash tag says nothing. */
  onUnanswered(key: string, since: number): void {
    if (!key.includes('{')) return;
    const connection = this.connectionOf(key);
    const bytes = bytesOf(connection);
    const tag = tagOf(key);
    // Bytes that arrived while the event loop was busy are read before this runs.
    setImmediate(() => {
      if (this.#heard({ since, connection, bytes }, key)) this.#quiet.delete(tag);
      else if (!this.#quiet.has(tag)) this.#quiet.set(tag, { since, connection, bytes });
    });
  }

  /** Milliseconds for which the master of a key has been silent; `undefined` while it is heard. */
  of(key: string): number | undefined {
    const tag = tagOf(key);
    const quiet = this.#quiet.get(tag);
    if (quiet === undefined) return undefined;
    if (this.#heard(quiet, key)) {
      this.#quiet.delete(tag);
      return undefined;
    }
    const ms = performance.now() - quiet.since;
    return ms < LONGEST_SILENCE ? undefined : ms;
  }

  /** Whether a connection has been silent for as long, while calls waited. */
  isSilent(connection: Redis): boolean {
    const since = performance.now() - LONGEST_SILENCE;
    for (const quiet of this.#quiet.values()) {
      if (quiet.connection === connection && quiet.since <= since && bytesOf(connection) === quiet.bytes) return true;
    }
    return false;
  }

  /** Whether something came since then, on that connection or by a new one. */
  #heard({ connection, bytes }: Quiet, key: string): boolean {
    const present = this.connectionOf(key);
    if (present?.status !== 'ready') return false;
    return present !== connection || bytesOf(present) !== bytes;
  }
}

function bytesOf(connection: Redis | undefined): number {
  return streamOf(connection)?.bytesRead ?? 0;
}

function tagOf(key: string): string {
  return key.slice(key.indexOf('{') + 1, key.indexOf('}'));
}
