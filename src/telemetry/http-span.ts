import { ServerResponse } from 'node:http';
import { context, createContextKey, type Span } from '@opentelemetry/api';

type CloseListener = (...args: unknown[]) => void;

/** State that the hook keeps on a response until its head is written. */
interface Watched {
  readonly span: Span;
  /** How the instrumentation hears of the response's end; set as soon as it listens. */
  onClose: CloseListener | undefined;
}

const WATCHED = Symbol.for('distributed-sse/http-server-span');
type WatchedResponse = ServerResponse & { [WATCHED]?: Watched | undefined };

// Where HTTP instrumentations look for the route (getRPCMetadata of @opentelemetry/core); keys of equal names are equal.
const RPC_METADATA = createContextKey('OpenTelemetry SDK Context Key RPC_METADATA');

/**
 * For `new HttpInstrumentation({ responseHook: sseResponseHook })` of `@opentelemetry/instrumentation-http`, before it any
 * hook of your own. A request that becomes a stream then has its server span ended when the head is out, and is not
 * counted in `http.server.request.duration`, where its hours would distort the figures of other requests. Refused requests
 * and all others are recorded as usual.
 */
export function sseResponseHook(span: Span, response: object): void {
  if (!(response instanceof ServerResponse)) return;
  const watched: Watched = { span, onClose: undefined };
  (response as WatchedResponse)[WATCHED] = watched;
  // The instrumentation adds its listener right after its hooks, before other code gets the response.
  const note = (event: string | symbol, listener: CloseListener): void => {
    if (event !== 'close') return;
    watched.onClose = listener;
    response.off('newListener', note);
  };
  response.on('newListener', note);
}

/** Ends the server span of a stream. Called when its head is written. */
export function endHttpServerSpan(response: ServerResponse): void {
  const target = response as WatchedResponse;
  const watched = target[WATCHED];
  if (watched === undefined) return;
  target[WATCHED] = undefined;
  if (watched.onClose !== undefined) response.off('close', watched.onClose);
  const { span } = watched;
  const route = rpcMetadata()?.route;
  span.setAttribute('http.response.status_code', response.statusCode);
  if (route !== undefined) {
    span.setAttribute('http.route', route);
    span.updateName(`${response.req.method ?? 'GET'} ${route}`);
  }
  span.end();
}

/** Gives the matched path pattern to the HTTP instrumentation, if there is one. */
export function noteHttpRoute(path: string): void {
  const metadata = rpcMetadata();
  if (metadata !== undefined) metadata.route = path;
}

function rpcMetadata(): { route?: string } | undefined {
  // The key is theirs, and so is the type.
  return context.active().getValue(RPC_METADATA) as { route?: string } | undefined;
}
