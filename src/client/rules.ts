import type { ConnectOptions, StreamEnd } from './options.js';

/** How one connection ended. */
export type ConnectionEnd =
  /** The server said why, in `sse.closed`. `retry` came with it. */
  | { readonly kind: 'closed'; readonly reason: string; readonly retry: number }
  /** The answer was no event stream. */
  | { readonly kind: 'refused'; readonly status: number; readonly retryAfter: number }
  | {
      readonly kind: 'broken';
      /** `unusable`: the transport did not even begin, and would not the next time. */
      readonly reason: 'failed' | 'silent' | 'ended' | 'offline' | 'unusable';
      readonly message?: string;
    };

/** What a stream does next. */
export type Step =
  | { readonly kind: 'stop'; readonly end: StreamEnd }
  /** `ms` is the whole pause. It may be cut short, but never below `atLeast`, which the server asked for. */
  | { readonly kind: 'wait'; readonly end: StreamEnd; readonly ms: number; readonly atLeast: number };

/** What is known about the attempts before. */
interface History {
  /** Attempts since the last connection that lasted; below 0 the status 204 is not the end of the stream yet. */
  readonly failures: number;
  /** The reconnection time: the server's last `retry:`, else {@link ConnectOptions.delay}. */
  readonly retry: number;
  /** Whether the last connection was refused for its credentials. */
  readonly refusedCredentials: boolean;
}

/** A server that asks for no pause at all gets a short one. */
const LEAST_BACK_OFF = 100;
/** Statuses that pass by themselves, beside all of 500 and more. */
const TEMPORARY = [204, 408, 425, 429];
const ENDS_WITH_CREDENTIALS = ['revoked', 'expired'];

/** Decides what follows the end of a connection. */
export function nextStep(end: ConnectionEnd, options: ConnectOptions, history: History): Step {
  const renewable = typeof options.headers === 'function';
  switch (end.kind) {
    case 'closed': {
      const { reason } = end;
      const stops =
        reason === 'superseded' ||
        reason === 'completed' ||
        options.stopOn?.includes(reason) === true ||
        (ENDS_WITH_CREDENTIALS.includes(reason) && !renewable);
      return stops ? { kind: 'stop', end: { reason } } : pause({ reason }, end.retry, options, history);
    }
    case 'refused': {
      const { status } = end;
      if (status === 204 && history.failures >= 0) return { kind: 'stop', end: { reason: 'completed', status } };
      const message = `the server answered ${status}, no event stream`;
      const refusal = { reason: 'refused', status, message };
      const again = status === 401 && renewable && !history.refusedCredentials;
      const temporary = status >= 500 || TEMPORARY.includes(status);
      return again || temporary ? pause(refusal, end.retryAfter, options, history) : { kind: 'stop', end: refusal };
    }
    case 'broken':
      return end.reason === 'unusable' ? { kind: 'stop', end } : pause(end, 0, options, history);
  }
}

/**
 * Exponential back-off with jitter: at least the reconnection time, from the second failure on between half the back-off and
 * all of it.
 */
function pause(
  end: StreamEnd,
  asked: number,
  { maxDelay = 30_000 }: ConnectOptions,
  { failures, retry }: History,
): Step {
  const backOff = Math.min(Math.max(maxDelay, retry), Math.max(retry, LEAST_BACK_OFF) * 2 ** failures);
  const least = Math.max(retry, backOff / 2);
  const most = Math.max(backOff, retry * 1.5);
  const ms = Math.max(least, asked) + Math.random() * (most - least);
  return { kind: 'wait', end, ms: Math.round(ms), atLeast: asked };
}
