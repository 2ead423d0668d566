import { AsyncResource } from 'node:async_hooks';
import { isLibraryReason, isSpread } from '../close-reasons.js';
import type { CloseReason, ConnectionState } from '../contracts/connection.js';
import type { Frame } from '../contracts/events.js';
import { type Comeback, ENDED, failedId } from '../protocol/cursor.js';
import { encodeEvent } from '../protocol/event-stream.js';
import { legalLastEventId } from '../protocol/names.js';
import { LONGEST_MS } from '../time.js';
import type { ReconnectTimes } from './environment.js';

/** As `ConnectionState`; an opening connection knows whether its response head was written. */
export type State =
  | { readonly kind: 'opening'; readonly head: 'unsent' | 'sent' }
  | Exclude<ConnectionState, { readonly kind: 'opening' }>;

export const UNSENT: State = { kind: 'opening', head: 'unsent' };
export const SENT: State = { kind: 'opening', head: 'sent' };

/** Whether the client got the response head, so that it can get a last event. */
export const isHeadSent = (state: State): boolean => state.kind !== 'opening' || state.head === 'sent';

/** Whether a connection takes no more events. */
export function isEnded(state: ConnectionState): state is Extract<ConnectionState, { readonly reason: CloseReason }> {
  return state.kind === 'draining' || state.kind === 'closed';
}

/**
 * The signal and the promise of a connection's end. Made only for a connection whose `signal` or `closed` is read. Listeners
 * of the signal run in the asynchronous context of the first reader: the handler, not whoever closes the connection.
 */
export class Ending extends AsyncResource {
  readonly #controller = new AbortController();
  #resolve: (reason: CloseReason) => void = () => undefined;
  readonly closed = new Promise<CloseReason>(resolve => {
    this.#resolve = resolve;
  });

  /** @param state the present state of the connection, which may have ended already */
  constructor(state: ConnectionState) {
    super('distributed-sse.connection');
    if (isEnded(state)) this.#controller.abort(state.reason);
    if (state.kind === 'closed') this.#resolve(state.reason);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason: CloseReason): void {
    this.runInAsyncScope(() => this.#controller.abort(reason));
  }

  /** The socket is gone as well. */
  settle(reason: CloseReason): void {
    this.#resolve(reason);
  }
}

/** A handler of the application that runs before the head is sent, and may still refuse the connection. */
export class Handling {
  #deferred: CloseReason | undefined;
  #used = false;
  #resolve: (() => void) | undefined;

  /** Why the connection closes once it has opened. */
  get deferred(): CloseReason | undefined {
    return this.#deferred;
  }

  /** Whether the handler has sent something, or the connection has stopped. */
  get used(): boolean {
    return this.#used;
  }

  use(): void {
    this.#used = true;
    this.#resolve?.();
  }

  /** Resolves when the handler sends something, or the connection stops. */
  whenUsed(): Promise<void> {
    return new Promise(resolve => {
      this.#resolve = resolve;
      if (this.#used) resolve();
    });
  }

  /** Whether a close waits for the head: one of the application's, so that its client learns the reason. */
  defers(reason: CloseReason): boolean {
    if (isLibraryReason(reason) && reason !== 'closed' && reason !== 'completed') return false;
    this.#deferred ??= reason;
    this.use();
    return true;
  }
}

/** The last event of a stream, `sse.closed`, with the reason; without an id and a time the client keeps those that it has. */
export function closedFrame(
  reason: CloseReason,
  fields: { readonly id?: string; readonly retry?: number } = {},
): Frame {
  return { bytes: encodeEvent({ event: 'sse.closed', data: JSON.stringify({ reason }), ...fields }) };
}

/** Milliseconds after which a failure no longer belongs to those before it. */
const STEADY_MS = 60_000;
const LONGEST_RETRY_MS = 300_000;

/**
 * The last event of a connection. A client that is sent away comes back later, at a time of its own; after a failure twice as
 * late as after the one before. A client whose source has ended does not come back. Otherwise the event repeats where
 * the client stands, since some clients forget it at an event without an id.
 * @param comeback `lastEventId` is empty for a client that has no id, and undefined where its id is not known
 */
export function lastFrame(
  reason: CloseReason,
  { retry, jitter }: ReconnectTimes,
  { lastEventId, failures, openMs }: Comeback & { readonly openMs: number },
): Frame {
  if (reason === 'completed') return closedFrame(reason, { id: ENDED });
  if (reason === 'failed') {
    const row = openMs < STEADY_MS ? failures : 0;
    // Where nothing here knows the position of the client, the client keeps the id that it has.
    const id = lastEventId === undefined ? undefined : legalLastEventId(failedId({ lastEventId, failures: row + 1 }));
    const least = Math.max(retry, Math.min(retry * 2 ** row, LONGEST_RETRY_MS));
    return closedFrame(reason, { retry: wait(least * (1 + Math.random())), ...(id !== undefined && { id }) });
  }
  return closedFrame(reason, {
    ...(isSpread(reason) && { retry: wait(retry + Math.random() * jitter) }),
    ...(lastEventId !== undefined && lastEventId !== '' && { id: lastEventId }),
  });
}

/** The timers of clients know no longer waits: they fire at once. */
function wait(ms: number): number {
  return Math.min(Math.round(ms), LONGEST_MS);
}
