import type { Attempt, ConnectOptions, FetchInit, RequestBody, TransportEnd } from './options.js';
import { scope } from './page.js';
import { EventStreamParser } from './parser.js';

/** The media type of event streams. */
export const MEDIA_TYPE = 'text/event-stream';
/** 16 Mi characters. */
const MAX_EVENT_SIZE = 16_777_216;

/** Reads the stream over `fetch`: with headers, any method, and the status of a refusal. */
export async function fetchTransport(attempt: Attempt): Promise<TransportEnd> {
  const { options, signal } = attempt;
  const response = await requestBy(options)(...(await requestOf(attempt)));
  const { status, headers, body } = response;
  if (status !== 200 || body === null || headers.get('content-type')?.startsWith(MEDIA_TYPE) !== true) {
    // The body is of no use, and an unread one would keep its socket.
    void body?.cancel().catch(() => undefined);
    return { kind: 'refused', status, retryAfter: retryAfterOf(headers.get('retry-after')) };
  }
  attempt.onAlive();
  const parser = new EventStreamParser(attempt, options.maxEventSize ?? MAX_EVENT_SIZE);
  const decoder = new TextDecoder();
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done || signal.aborted) return { kind: 'ended' };
    attempt.onAlive();
    parser.feed(decoder.decode(value, { stream: true }));
  }
}

/**
 * Reads the stream with the browser's `EventSource`. It sends no headers and sees no status, so that any refusal is tried
 * again. It gets only events that had a listener when the connection began, and the last id only with an event.
 */
export function eventSourceTransport(attempt: Attempt): Promise<TransportEnd> {
  const { url, options, lastEventId, names, signal } = attempt;
  if (options.headers !== undefined || options.body !== undefined || (options.method ?? 'GET') !== 'GET') {
    throw new TypeError('an EventSource sends no headers and no body; use fetchTransport, the default');
  }
  const source = new EventSource(withLastEventId(url, lastEventId), {
    withCredentials: options.credentials === 'include',
  });
  signal.addEventListener('abort', () => source.close());
  let id = lastEventId ?? '';
  const onEvent = (event: Event): void => {
    if (!(event instanceof MessageEvent)) return;
    attempt.onAlive();
    const moved = event.lastEventId === id ? undefined : event.lastEventId;
    id = event.lastEventId;
    attempt.onBlock({ event: event.type, data: String(event.data), id: moved });
  };
  for (const name of new Set(['connected', 'message', 'sse.reset', 'sse.closed', ...names])) {
    source.addEventListener(name, onEvent);
  }
  return new Promise((resolve, reject) => {
    source.addEventListener('error', event => {
      // An event that the server named `error` comes to the same listener.
      if (event instanceof MessageEvent) return;
      source.close();
      reject(new Error('the EventSource failed'));
    });
    signal.addEventListener('abort', () => resolve({ kind: 'ended' }));
  });
}

/** The application's `fetch`, or the global one as it is at this moment. */
export function requestBy({ fetch: own }: ConnectOptions): NonNullable<ConnectOptions['fetch']> {
  return own ?? ((url, init) => fetch(url, init));
}

async function requestOf({ url, options, lastEventId, signal }: Attempt): Promise<[string, FetchInit]> {
  const { headers, body, method = body === undefined ? 'GET' : 'POST', credentials = 'same-origin' } = options;
  const own = typeof headers === 'function' ? await headers() : headers;
  const sent: RequestBody | undefined = typeof body === 'function' ? await body() : body;
  const byHeader = lastEventId !== undefined && isSameOrigin(url);
  const init: FetchInit = {
    method,
    credentials,
    cache: 'no-store',
    signal,
    headers: {
      accept: MEDIA_TYPE,
      ...own,
      ...(byHeader ? { 'last-event-id': utf8(lastEventId) } : {}),
    },
    ...(sent === undefined ? {} : { body: sent }),
  };
  return [byHeader ? url : withLastEventId(url, lastEventId), init];
}

/** The header would make the browser ask another origin for leave first. */
function isSameOrigin(url: string): boolean {
  return scope.location === undefined || new URL(url).origin === scope.location.origin;
}

function withLastEventId(url: string, lastEventId: string | undefined): string {
  if (lastEventId === undefined) return url;
  const complete = new URL(url);
  complete.searchParams.set('lastEventId', lastEventId);
  return complete.href;
}

/** A header holds bytes, one in each character. */
function utf8(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

/** Milliseconds from now; 0 when the server asks for none. Seconds or a date (RFC 9110, section 10.2.3). */
export function retryAfterOf(header: string | null): number {
  const value = header ?? '';
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Math.max(0, ms || 0);
}
