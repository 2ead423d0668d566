import type { Newable } from 'inversify';
import { match, type MatchFunction } from 'path-to-regexp';
import type { SseGuard, SseRequest } from '../contracts/authorization.js';
import type { SseConnection } from '../contracts/connection.js';
import { SseError } from '../errors.js';

/** Written as a method, so that a handler may name a narrower request (Koa's context) or typed events. */
interface Endpoint {
  handle(connection: SseConnection, request: SseRequest): unknown;
}

/**
 * Makes a controller's method an event-stream endpoint. Path syntax is path-to-regexp 8: `/sse/:clientId`, `/a{/:b}`.
 *
 * The method is called with the open connection and the request. It may return nothing, or a source of events (see
 * `SseConnection.pipe`); then the stream ends with the source. An error that it throws ends the stream with reason `failed`.
 *
 * Writes one metadata record and nothing else; `sseMiddleware` serves it.
 * @throws SseError `INVALID_ENDPOINT` on a static method
 */
export function SseEndpoint(path: string, options: SseEndpointOptions = {}) {
  // Generic in the method, since a descriptor's type is invariant.
  return <Handler extends Endpoint['handle']>(
    prototype: object,
    method: string | symbol,
    _descriptor: TypedPropertyDescriptor<Handler>,
  ): void => {
    if (typeof prototype === 'function') {
      throw new SseError(
        'INVALID_ENDPOINT',
        `an @SseEndpoint must be a method of instances, ${String(method)} is static; remove the keyword`,
      );
    }
    const controller = prototype.constructor;
    define(controller, ENDPOINTS, [...ownEndpoints(controller), { path, method, options }]);
  };
}

/**
 * Optional on a controller: puts `prefix` before the paths of its endpoints, and `guards` before theirs.
 *
 * Writes one metadata record and nothing else.
 */
export function SseController(prefix: string, options: GuardOptions = {}) {
  return (controller: abstract new (...args: never[]) => unknown): void =>
    define(controller, CONTROLLER, { prefix, ...options } satisfies ControllerRecord);
}

/** Settings of one endpoint, or of all endpoints of a controller. */
export interface GuardOptions {
  /** Classes that the container builds; all must let the request pass, in this order. */
  readonly guards?: readonly Newable<SseGuard>[];
}

/** Settings of `@SseEndpoint`. */
export interface SseEndpointOptions extends GuardOptions {
  /** The request methods it answers. Default both. */
  readonly methods?: readonly ('GET' | 'POST')[];
  /** Topics its connections follow from the start. */
  readonly topics?: readonly string[] | ((request: SseRequest) => readonly string[]);
  /** The connection id. Default: the path parameter `connectionId` or `clientId`, else a random one. */
  readonly connectionId?: (request: SseRequest) => string;
  /** Default `connection.onDuplicate`. */
  readonly onDuplicate?: 'takeover' | 'reject';
  /**
   * Makes the endpoint a resumable source with this key. The method runs once per key in the cluster, on the node that is
   * asked first. It gets a {@link ResumableSource} instead of a connection and returns a source of events. Every client
   * that asks for the key follows that source, from its start or from the client's last id, on any node.
   */
  readonly resumable?: (request: SseRequest) => string;
  /** Name of the controller's method that is called as a `ResetHook` whenever a client gets `sse.reset`. */
  readonly onReset?: string;
}

/** One decorated method. */
interface EndpointRecord {
  readonly path: string;
  readonly method: string | symbol;
  readonly options: SseEndpointOptions;
}

/** One decorated class. */
interface ControllerRecord extends GuardOptions {
  readonly prefix: string;
}

const ENDPOINTS = Symbol.for('distributed-sse/endpoints');
const CONTROLLER = Symbol.for('distributed-sse/controller');

interface Decorated {
  readonly [ENDPOINTS]?: readonly EndpointRecord[];
  readonly [CONTROLLER]?: ControllerRecord;
}

/**
 * The endpoints of a class, inherited ones first. A class that decorates a method again replaces the records of its parents,
 * so that an inherited record cannot bypass the guards of the new one.
 */
export function endpointsOf(controller: object): readonly EndpointRecord[] {
  const own = ownEndpoints(controller);
  const parent: unknown = Object.getPrototypeOf(controller);
  if (typeof parent !== 'function') return own;
  const inherited = endpointsOf(parent).filter(({ method }) => own.every(record => record.method !== method));
  return [...inherited, ...own];
}

/** The `@SseController` record of a class or its nearest parent. Default: no prefix and no guards. */
export function controllerOf(controller: object): ControllerRecord {
  return (controller as Decorated)[CONTROLLER] ?? { prefix: '' };
}

function ownEndpoints(controller: object): readonly EndpointRecord[] {
  return (Object.hasOwn(controller, ENDPOINTS) && (controller as Decorated)[ENDPOINTS]) || [];
}

function define(controller: object, key: symbol, value: unknown): void {
  Object.defineProperty(controller, key, { value, configurable: true });
}

/** A class with at least one `@SseEndpoint`. */
export type ControllerClass = Newable<object>;

/** One endpoint, ready to be matched. */
export interface EndpointRoute {
  readonly controller: ControllerClass;
  readonly method: string | symbol;
  readonly methods: readonly string[];
  readonly guards: readonly Newable<SseGuard>[];
  readonly options: SseEndpointOptions;
  /** The path pattern, for messages and spans. */
  readonly path: string;
  readonly match: MatchFunction<PathParams>;
}

const DEFAULT_METHODS = ['GET', 'POST'] as const;

/**
 * The routes of some controllers, in the order given.
 * @throws SseError `INVALID_ENDPOINT` for a class without endpoints, or a path that path-to-regexp does not understand
 */
export function endpointRoutes(controllers: readonly ControllerClass[]): EndpointRoute[] {
  return controllers.flatMap(controller => {
    const endpoints = endpointsOf(controller);
    if (endpoints.length === 0) {
      throw new SseError(
        'INVALID_ENDPOINT',
        `a controller needs at least one @SseEndpoint, ${controller.name} has none; decorate a method or leave it out`,
      );
    }
    const { prefix, guards = [] } = controllerOf(controller);
    for (const { options } of endpoints) checkHook(controller, options.onReset);
    return endpoints.map(({ path, method, options }) => ({
      controller,
      method,
      methods: options.methods ?? DEFAULT_METHODS,
      guards: [...guards, ...(options.guards ?? [])],
      options,
      path: prefix + path,
      match: matcher(controller.name, prefix + path),
    }));
  });
}

function checkHook({ name, prototype }: ControllerClass, method: string | undefined): void {
  if (method === undefined || typeof (prototype as Record<string, unknown>)[method] === 'function') return;
  throw new SseError(
    'INVALID_ENDPOINT',
    `onReset must name a method of ${name}, got '${method}'; write the method or leave onReset out`,
  );
}

function matcher(controller: string, path: string): EndpointRoute['match'] {
  try {
    // Parameters stay encoded: broken percent-encoding must be answered with 400, not as a route that does not match.
    return match<PathParams>(path, { decode: false });
  } catch (error) {
    throw new SseError(
      'INVALID_ENDPOINT',
      `the path of ${controller} must be path-to-regexp 8 syntax, got '${path}': /a/:id, /a{/:id}, /a/*rest`,
      { cause: error },
    );
  }
}

/** A route whose path matches a request's. */
export interface MatchedRoute {
  readonly route: EndpointRoute;
  /** Path parameters, still percent-encoded. */
  readonly params: PathParams;
}

/** The routes with this path in their order, for every method. */
export function matchRoutes(routes: readonly EndpointRoute[], path: string): MatchedRoute[] {
  const matched: MatchedRoute[] = [];
  for (const route of routes) {
    const result = route.match(path);
    if (result !== false) matched.push({ route, params: result.params });
  }
  return matched;
}

/** The first of them that answers a request method; HEAD is answered as GET is. */
export function chooseByMethod(matched: readonly MatchedRoute[], method: string): MatchedRoute | undefined {
  const wanted = method === 'HEAD' ? 'GET' : method;
  return matched.find(({ route }) => route.methods.includes(wanted));
}

/** The header `Allow` of a path that these routes have. */
export function allowedMethods(matched: readonly MatchedRoute[]): string {
  const methods = new Set(matched.flatMap(({ route }) => route.methods));
  return [...methods].flatMap(method => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
}

/** Path parameters as path-to-regexp finds them; an optional one may be absent. */
type PathParams = Readonly<Partial<Record<string, string>>>;

/** Decodes path parameters. @throws SseError `INVALID_REQUEST` */
export function decodeParams(params: PathParams): Record<string, string> {
  const decoded: Record<string, string> = {};
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined) decoded[name] = decode(value);
  }
  return decoded;
}

function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch (error) {
    throw new SseError('INVALID_REQUEST', `the path must be percent-encoded UTF-8, got '${value.slice(0, 80)}'`, {
      cause: error,
    });
  }
}
