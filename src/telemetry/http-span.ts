import { ServerResponse } from 'node:http';
import { context, createContextKey, type Span } from '@opentelemetry/api';

type CloseListener = (...args: unknown[]) => void;

/** What the hook leaves on a response for the moment its head is out. */
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
 * counted in `http.server.request.duration`, where its hours would drown every other request. Requests that are refused,
 * and all others, are told as ever.
 */
export function sseResponseHook(span: Span, response: object): void {
  if (!(response instanceof ServerResponse)) return;
  const watched: Watched = { span, onClose: undefined };
  (response as WatchedResponse)[WATCHED] = watched;
  // The instrumentation begins to listen right after its hooks, before anybody else sees the response.
  const note = (event: string | symbol, listener: CloseListener): void => {
    if (event !== 'close') return;
    watched.onClose = listener;
    response.off('newListener', note);
  };
  response.on('newListener', note);
}

/** The head of a stream is out: ends what the hook began to watch. */
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

/** Tells the HTTP instrumentation, if there is one, which path pattern the request matched. */
export function noteHttpRoute(path: string): void {
  const metadata = rpcMetadata();
  if (metadata !== undefined) metadata.route = path;
}

function rpcMetadata(): { route?: string } | undefined {
  // The key is theirs, and so is the type.
  return context.active().getValue(RPC_METADATA) as { route?: string } | undefined;
}
