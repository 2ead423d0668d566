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
  let ended: unknown = false;
  try {
    // One race for the whole run, so that a waiting source does not keep a gone client's pump alive.
    ended = await Promise.race([running, stopped]);
  } finally {
    if (ended !== true) cancel(source, running, target);
  }
}

/** Resolves to whether the source ended by itself. */
async function run(source: PullSource, target: PumpTarget): Promise<boolean> {
  while (!target.signal.aborted) {
    const result = await source.next();
    if (result.done === true) return true;
    // What the source yields after the connection stopped has nowhere to go.
    if (isAborted(target)) return false;
    target.take(result.value);
    await target.drained();
  }
  return false;
}

function isAborted({ signal }: PumpTarget): boolean {
  return signal.aborted;
}

/** Cancels without waiting for it: a source may be waiting itself. */
function cancel(source: PullSource, running: Promise<boolean>, target: PumpTarget): void {
  if (target.signal.aborted) {
    running.catch((error: unknown) => {
      target.onLateFailure(error);
    });
  }
  Promise.resolve()
    .then(() => source.cancel())
    .catch((error: unknown) => {
      target.onLateFailure(error);
    });
}

async function push(source: PushSource, target: PumpTarget, stopped: Promise<void>): Promise<void> {
  let unsubscribe: (() => void) | undefined;
  const completed = new Promise<void>((resolve, reject) => {
    const next = (item: unknown): void => {
      if (target.signal.aborted) return;
      try {
        target.take(item);
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    };
    unsubscribe = source.subscribe(
      next,
      error => {
        reject(error instanceof Error ? error : new Error(String(error), { cause: error }));
      },
      resolve,
    );
  });
  try {
    await Promise.race([completed, stopped]);
  } finally {
    unsubscribe?.();
  }
}
