import { setImmediate as nextTurn } from 'node:timers/promises';
import type { PullSource, PushSource } from './source.js';

/** Where a pump puts events. */
export interface PumpTarget {
  /** Aborts when nothing is taken any more. */
  readonly signal: AbortSignal;
  /** Resolves when the client can take more, or the connection has stopped. */
  drained(): Promise<void>;
  /** Takes one item of the source. Throws when it cannot be an event. */
  take(item: unknown): void;
  /** Is told of failures of a source that was given up before. */
  onLateFailure(error: unknown): void;
}

// How long a source that always has its next item ready may keep the event loop to itself.
const TURN_MS = 10;

/**
 * Moves a source's items to a connection until the source ends or the connection stops, whichever is first; then cancels
 * the source. A pull source is asked for its next item only when the client can take it. Rejects when the source fails.
 */
export async function pump(source: PullSource | PushSource, target: PumpTarget): Promise<void> {
  let onAbort: () => void = () => undefined;
  const stopped = new Promise<void>(resolve => {
    onAbort = resolve;
    target.signal.addEventListener('abort', onAbort, { once: true });
    if (target.signal.aborted) resolve();
  });
  try {
    await (source.kind === 'pull' ? pull(source, target, stopped) : push(source, target, stopped));
  } finally {
    target.signal.removeEventListener('abort', onAbort);
  }
}

async function pull(source: PullSource, target: PumpTarget, stopped: Promise<void>): Promise<void> {
  const running = run(source, target);
  // One race for the whole run, so that a waiting source does not keep a gone client's pump alive.
  if ((await Promise.race([running, stopped])) === 'ended') return;
  running.catch((error: unknown) => {
    target.onLateFailure(error);
  });
  void giveUp(() => source.cancel(), target);
}

/** Resolves when the source has ended by itself, or the connection has stopped. */
async function run(source: PullSource, target: PumpTarget): Promise<'ended' | 'stopped'> {
  let turnStarted = performance.now();
  for (;;) {
    await target.drained();
    if (isAborted(target)) return 'stopped';
    const result = await source.next();
    if (result.done === true) return 'ended';
    // Others write to the client as well and may have filled it meanwhile.
    await target.drained();
    if (isAborted(target)) return 'stopped';
    try {
      target.take(result.value);
    } catch (error) {
      void giveUp(() => source.cancel(), target);
      throw error;
    }
    if (performance.now() - turnStarted < TURN_MS) continue;
    await nextTurn();
    turnStarted = performance.now();
  }
}

function isAborted({ signal }: PumpTarget): boolean {
  return signal.aborted;
}

/** Cancels a source. Nobody waits for it, since a source may be waiting itself. Never rejects. */
async function giveUp(cancel: () => unknown, target: PumpTarget): Promise<void> {
  try {
    await cancel();
  } catch (error) {
    target.onLateFailure(error);
  }
}

async function push(source: PushSource, target: PumpTarget, stopped: Promise<void>): Promise<void> {
  if (target.signal.aborted) return;
  let unsubscribe: () => void = () => undefined;
  const completed = new Promise<void>((resolve, reject) => {
    let over = false;
    const complete = (): void => {
      over = true;
      resolve();
    };
    const fail = (error: unknown): void => {
      if (over || target.signal.aborted) target.onLateFailure(error);
      over = true;
      reject(asError(error));
    };
    // It may go on until it is unsubscribed, which it cannot be while it emits within `subscribe`.
    const next = (item: unknown): void => {
      if (over || target.signal.aborted) return;
      try {
        target.take(item);
      } catch (error) {
        fail(error);
      }
    };
    unsubscribe = source.subscribe(next, fail, complete);
  });
  try {
    await Promise.race([completed, stopped]);
  } finally {
    void giveUp(unsubscribe, target);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error
    ? error
    : new Error('a source failed with something that is no Error', { cause: error });
}
