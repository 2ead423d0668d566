import { factsIn } from './connection.js';
import type { Attempt, Block, ConnectOptions, FetchInit, Handled, RequestHeaders, TransportEnd } from './options.js';
import { reportUncaught } from './stream.js';
import { fetchTransport, MEDIA_TYPE, requestBy, retryAfterOf } from './transports.js';

/** Accepted by a client that confirms, and the only type that a report accepts. */
export const CONFIRM_TYPE = 'application/vnd.distributed-sse.confirm';
/** Milliseconds between the beginnings of two reports, so that a report has many message ids. */
const SPACING_MS = 100;
/** Milliseconds for one report. */
const TIMEOUT_MS = 10_000;
/** Message ids in one report. */
const MOST_IDS = 100;
/** Message ids that wait for their report; further ones replace the oldest. */
const MOST_WAITING = 1_000;

/**
 * Reads the stream as {@link fetchTransport} does, and confirms the events whose sender asked for that: by a POST to the path of
 * the stream, with the same headers. It says of each event whether its listeners have handled it.
 */
export function confirm(attempt: Attempt): Promise<TransportEnd> {
  const { url, options, lastEventId, signal, names } = attempt;
  const reports = new Reports(attempt);
  return fetchTransport({
    url,
    lastEventId,
    signal,
    names,
    options: { ...options, headers: () => headersOf(options, `${MEDIA_TYPE}, ${CONFIRM_TYPE}`) },
    onAlive: () => attempt.onAlive(),
    onRetry: ms => attempt.onRetry(ms),
    onBlock: block => {
      const results = attempt.onBlock(block);
      reports.onBlock(block, results);
      return results;
    },
  });
}

/** What became of one event. */
interface Outcome {
  readonly id: string;
  readonly handled: boolean;
}

/** Reports what the listeners of one connection have handled. */
class Reports {
  #connectionId: string | undefined;
  #token: string | undefined;
  #waiting: Outcome[] = [];
  #running = false;
  #failures = 0;

  constructor(private readonly attempt: Pick<Attempt, 'url' | 'options' | 'signal'>) {}

  onBlock({ event, data, confirm: id }: Block, results: Handled): void {
    if (event === 'connected') ({ connectionId: this.#connectionId, confirm: this.#token } = factsIn(data));
    if (id === undefined || this.#token === undefined) return;
    const { onError = reportUncaught } = this.attempt.options;
    const note = (handled: boolean): void => {
      this.#waiting = [...this.#waiting.slice(1 - MOST_WAITING), { id, handled }];
      if (!this.#running) void this.#run();
    };
    Promise.all(results ?? []).then(
      all => note(all.length > 0),
      (error: unknown) => {
        note(false);
        onError(error);
      },
    );
  }

  /** Reports at once, and then what has gathered meanwhile. */
  async #run(): Promise<void> {
    this.#running = true;
    // Events of one read are handled in one turn.
    await Promise.resolve();
    // A report after the end of the connection is of no use.
    while (this.#waiting.length > 0 && !this.attempt.signal.aborted) {
      const reported = this.#waiting.splice(0, MOST_IDS);
      const pause = await this.#report(reported);
      await new Promise(resolve => setTimeout(resolve, pause));
    }
    this.#running = false;
  }

  /** Sends one report. Returns how long the next one waits; what the server may accept later waits with it. */
  async #report(reported: readonly Outcome[]): Promise<number> {
    const { url, options } = this.attempt;
    const ids = (which: boolean): string[] => reported.filter(({ handled }) => handled === which).map(({ id }) => id);
    const report = { connectionId: this.#connectionId, token: this.#token, handled: ids(true), failed: ids(false) };
    try {
      const init: FetchInit = {
        method: 'POST',
        headers: await headersOf(options, CONFIRM_TYPE),
        body: JSON.stringify(report),
        credentials: options.credentials ?? 'same-origin',
        cache: 'no-store',
        keepalive: true,
        signal: AbortSignal.timeout(TIMEOUT_MS),
      };
      const { status, headers, body } = await requestBy(options)(url, init);
      void body?.cancel().catch(() => undefined);
      this.#failures = 0;
      if (status !== 408 && status !== 429 && status < 500) return SPACING_MS;
      return this.#again(reported, retryAfterOf(headers.get('retry-after')));
    } catch {
      // The network failed; the stream itself says so where it lasts.
      return this.#again(reported, 0);
    }
  }

  #again(reported: readonly Outcome[], least: number): number {
    this.#waiting = [...reported, ...this.#waiting].slice(-MOST_WAITING);
    this.#failures += 1;
    const { maxDelay = 30_000 } = this.attempt.options;
    return Math.max(least, Math.min(maxDelay, SPACING_MS * 2 ** this.#failures) * (0.5 + Math.random() / 2));
  }
}

async function headersOf({ headers }: ConnectOptions, accept: string): Promise<RequestHeaders> {
  return { ...(typeof headers === 'function' ? await headers() : headers), accept };
}
