import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { CommandReceipt, ConfirmationReport } from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import {
  checkConnectionId,
  checkIdWithoutUser,
  checkKey,
  checkUser,
  connectionIdOf,
  isReportToken,
  MOST_REPORTED,
} from '../protocol/names.js';
import { Periodic } from '../time.js';

/** Reports of one client per second, and at once. */
const RATE = 20;
/** Message ids of a client that are remembered: a report may come before the question of the sender. */
const MOST_REMEMBERED = 512;
/** Senders that may wait for one client. */
const MOST_WAITING = 10_000;
/** Reports of clients of other nodes that are on their way. */
const MOST_FORWARDED = 1_000;

const REPORTED: CommandReceipt = { outcome: 'delivered' };
const NOT_CONNECTED: CommandReceipt = { outcome: 'not-connected' };

/**
 * The clients of this node that confirm what they have handled, and the senders that wait for it. A client that leaves a
 * sender waiting and reports nothing for `confirmation.timeout` has vanished: its stream ends as `stale`.
 */
export class Confirmations {
  readonly #clients = new Map<LocalConnection, ConfirmingClient>();
  readonly #watch: Periodic;
  #forwarding = 0;

  constructor(private readonly settings: ResolvedSseOptions['confirmation']) {
    this.#watch = new Periodic(() => this.#endVanished(), { everyMs: settings.timeout / 4 });
  }

  /** The client of a connection that opens asks for confirmations. */
  begin(connection: LocalConnection): void {
    this.#clients.set(connection, new ConfirmingClient());
  }

  /** What the client has to bring with each report; `undefined` when it does not confirm. */
  tokenOf(connection: LocalConnection): string | undefined {
    return this.#clients.get(connection)?.token;
  }

  /** The report of a client. */
  report(connection: LocalConnection | undefined, report: ConfirmationReport): CommandReceipt {
    if (connection === undefined) return NOT_CONNECTED;
    const client = this.#clients.get(connection);
    if (client?.isToken(report.token) !== true) return { outcome: 'rejected', code: 'FORBIDDEN' };
    if (!client.admits(performance.now())) return { outcome: 'rejected', code: 'RATE_LIMITED' };
    client.report(report);
    return REPORTED;
  }

  /** Gives the report of a client to the node of its connection, unless too many are on their way. */
  async forward(dispatch: () => Promise<CommandReceipt>): Promise<CommandReceipt> {
    if (this.#forwarding >= MOST_FORWARDED) return { outcome: 'rejected', code: 'RATE_LIMITED' };
    this.#forwarding += 1;
    try {
      return await dispatch();
    } finally {
      this.#forwarding -= 1;
    }
  }

  /** Whether the client says within so many milliseconds that it has handled a message. */
  async isConfirmed(connection: LocalConnection | undefined, messageId: string, ms: number): Promise<boolean> {
    const client = connection && this.#clients.get(connection);
    if (client === undefined) return false;
    this.#watch.start();
    return client.isConfirmed(messageId, ms);
  }

  /** The connection has stopped. */
  end(connection: LocalConnection): void {
    this.#clients.get(connection)?.end();
    this.#clients.delete(connection);
  }

  stop(): void {
    this.#watch.stop();
  }

  #endVanished(): void {
    const since = performance.now() - this.settings.timeout;
    let waiting = false;
    for (const [connection, { waitingSince }] of [...this.#clients]) {
      if (waitingSince === undefined) continue;
      if (waitingSince <= since) connection.close('stale');
      else waiting = true;
    }
    if (!waiting) this.#watch.stop();
  }
}

/** What one client has confirmed, and who waits for it. */
class ConfirmingClient {
  readonly token = randomBytes(16).toString('base64url');
  /** Since when a sender has waited without any report of the client, by the monotonic clock. */
  waitingSince: number | undefined;
  /** The newest message ids of reports, and whether they were handled. */
  readonly #reported = new Map<string, boolean>();
  readonly #waiting = new Map<string, ((handled: boolean) => void)[]>();
  #waits = 0;
  #allowed = RATE;
  #allowedAt = 0;

  isToken(token: string): boolean {
    const own = Buffer.from(this.token);
    const other = Buffer.from(token);
    return own.length === other.length && timingSafeEqual(own, other);
  }

  /** Whether the client may report now. */
  admits(now: number): boolean {
    this.#allowed = Math.min(RATE, this.#allowed + ((now - this.#allowedAt) * RATE) / 1_000);
    this.#allowedAt = now;
    if (this.#allowed < 1) return false;
    this.#allowed -= 1;
    return true;
  }

  report({ handled, failed }: ConfirmationReport): void {
    this.waitingSince = undefined;
    for (const id of handled) this.#note(id, true);
    for (const id of failed) this.#note(id, false);
  }

  isConfirmed(messageId: string, ms: number): Promise<boolean> {
    const known = this.#reported.get(messageId);
    if (known !== undefined || this.#waits >= MOST_WAITING) return Promise.resolve(known === true);
    this.waitingSince ??= performance.now();
    return new Promise(resolve => {
      this.#waits += 1;
      const done = (handled: boolean): void => {
        clearTimeout(timer);
        this.#waits -= 1;
        resolve(handled);
      };
      const waiters = this.#waiting.get(messageId) ?? [];
      this.#waiting.set(messageId, [...waiters, done]);
      const timer = setTimeout(() => {
        const others = (this.#waiting.get(messageId) ?? []).filter(each => each !== done);
        if (others.length > 0) this.#waiting.set(messageId, others);
        else this.#waiting.delete(messageId);
        done(false);
      }, ms);
    });
  }

  end(): void {
    const waiting = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    for (const done of waiting) done(false);
  }

  #note(messageId: string, handled: boolean): void {
    this.#reported.delete(messageId);
    this.#reported.set(messageId, handled);
    const [oldest] = this.#reported.keys();
    if (this.#reported.size > MOST_REMEMBERED && oldest !== undefined) this.#reported.delete(oldest);
    const waiters = this.#waiting.get(messageId) ?? [];
    this.#waiting.delete(messageId);
    for (const done of waiters) done(handled);
  }
}

/**
 * The report in what a client sent, which names its connection without the user.
 * @throws SseError `INVALID_REQUEST`, `INVALID_USER`
 */
export function reportIn(value: unknown, user: string | undefined): ConfirmationReport {
  if (user !== undefined) checkUser(user);
  try {
    const { connectionId, token, handled, failed } = Object(value) as Partial<Record<string, unknown>>;
    checkConnectionId(connectionId);
    if (user === undefined) checkIdWithoutUser(connectionId);
    const whole = user === undefined ? connectionId : connectionIdOf(user, connectionId);
    if (isReportToken(token) && isIds(handled) && isIds(failed) && handled.length + failed.length <= MOST_REPORTED) {
      return { connectionId: whole, token, handled, failed };
    }
  } catch (error) {
    if (!SseError.is(error)) throw error;
  }
  throw new SseError(
    'INVALID_REQUEST',
    `a report must be { connectionId, token, handled, failed } with at most ${MOST_REPORTED} message ids; see docs/client.md`,
  );
}

/** Whether a value is a list of message ids. @throws SseError `INVALID_EVENT_ID` */
function isIds(value: unknown): value is string[] {
  if (!Array.isArray(value) || value.length > MOST_REPORTED) return false;
  for (const id of value) checkKey('a message id', id);
  return true;
}
