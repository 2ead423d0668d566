import type { Container, Newable } from 'inversify';
import { match, type MatchFunction, pathToRegexp } from 'path-to-regexp';
import { SseError } from '../errors.js';
import { shownValue } from '../options/problems.js';
import {
  controllerOf,
  type EndpointRequest,
  endpointsOf,
  type GuardOptions,
  type SseEndpointOptions,
} from './endpoints.js';

/** A class with at least one `@SseEndpoint`. */
export type ControllerClass = Newable<object>;

/** One endpoint, ready to be matched. */
export interface EndpointRoute {
  readonly controller: ControllerClass;
  readonly method: string | symbol;
  readonly methods: readonly string[];
  readonly guards: NonNullable<GuardOptions['guards']>;
  readonly options: SseEndpointOptions;
  /** The path pattern, for messages and spans. */
  readonly path: string;
  readonly match: MatchFunction<PathParams>;
  /** The connection id of a request; `undefined` stands for a random one. */
  readonly connectionIdOf: (request: EndpointRequest) => string | undefined;
  /** The topics that a request follows from the start. */
  readonly topicsOf: (request: EndpointRequest) => readonly string[];
}

/** How the paths of all endpoints are matched; names and defaults are those of `@koa/router`. */
export interface MatchingOptions {
  /** Whether upper and lower case differ: false serves `/sse/ME` where the path is `/sse/me`. Default false. */
  readonly sensitive?: boolean;
  /** Whether a slash at the end of a request's path counts: false serves `/sse/` where the path is `/sse`. Default false. */
  readonly strict?: boolean;
}

const DEFAULT_METHODS = ['GET'] as const;

/**
 * The routes of some controllers, in the order given.
 * @throws SseError `INVALID_ENDPOINT` for a controller without endpoints, a path that cannot be served or is served twice, a
 * connection id that no parameter gives, and an `onReset` that is no method
 */
export function endpointRoutes(
  controllers: readonly ControllerClass[],
  matching: MatchingOptions = {},
): EndpointRoute[] {
  if (!isList(controllers)) {
    const got = shownValue(controllers);
    throw new SseError(
      'INVALID_ENDPOINT',
      `controllers must be a list of classes, got ${got}; write controllers: [Class]`,
    );
  }
  const distinct = new DistinctPaths();
  return controllers.flatMap(controller => {
    const endpoints = endpointsOf(asClass(controller));
    if (endpoints.length === 0) {
      throw new SseError(
        'INVALID_ENDPOINT',
        `a controller needs at least one @SseEndpoint, ${controller.name} has none; decorate a method or leave it out`,
      );
    }
    const { prefix, options: common } = controllerOf(controller);
    return endpoints.map(({ path, method, options }) => {
      const { methods = DEFAULT_METHODS, onReset } = options;
      const name = `${controller.name}.${String(method)}`;
      checkHook(controller, onReset);
      const pattern = patternOf(name, prefix, path, matching);
      distinct.add(name, methods, pattern);
      return {
        controller,
        method,
        methods,
        guards: [...new Set([...(common.guards ?? []), ...(options.guards ?? [])])],
        options,
        path: pattern.path,
        match: pattern.match,
        connectionIdOf: connectionIdOf(name, pattern, options),
        topicsOf: topicsOf(name, options),
      };
    });
  });
}

/** Unlike `Array.isArray` it keeps the type of the items. */
function isList(value: unknown): boolean {
  return Array.isArray(value);
}

/** @throws SseError `INVALID_ENDPOINT` for an object of the class, or `undefined` of a broken import */
function asClass(controller: unknown): object {
  if (typeof controller === 'function') return controller;
  throw new SseError(
    'INVALID_ENDPOINT',
    `controllers must be a list of classes, got ${shownValue(controller)} in it; give the class, and bind it in the container`,
  );
}

function checkHook({ name, prototype }: ControllerClass, method: string | undefined): void {
  if (method === undefined || typeof (prototype as Record<string, unknown>)[method] === 'function') return;
  throw new SseError(
    'INVALID_ENDPOINT',
    `onReset must name a method of ${name}, got '${method}'; write the method or leave onReset out`,
  );
}

/** A path pattern that can be served. */
interface Pattern {
  readonly path: string;
  readonly match: EndpointRoute['match'];
  /** The names of its parameters. */
  readonly parameters: readonly string[];
  /** Equal for patterns that match the same paths, whatever their parameters are called. */
  readonly shape: string;
}

/** @throws SseError `INVALID_ENDPOINT` */
function patternOf(
  name: string,
  prefix: string,
  path: string,
  { sensitive = false, strict = false }: MatchingOptions,
): Pattern {
  for (const part of [prefix, path]) {
    if (part === '' || /^\{?\//.test(part)) continue;
    throw new SseError(
      'INVALID_ENDPOINT',
      `the path of ${name} must begin with a slash, got '${part}'; write '${pathIn(part)}'`,
    );
  }
  const whole = prefix + path;
  if (whole === '' || whole.includes('//')) {
    throw new SseError('INVALID_ENDPOINT', `the path of ${name} must have no empty segment, got '${whole}'`);
  }
  const rules = { sensitive, trailing: !strict };
  try {
    const { regexp, keys } = pathToRegexp(strict ? whole : whole.replace(/\/$/, ''), rules);
    return {
      path: whole,
      // Parameters stay encoded: broken percent-encoding must be answered with 400, not as a route that does not match.
      match: match<PathParams>(whole, { ...rules, decode: false }),
      parameters: keys.map(key => key.name),
      shape: sensitive ? regexp.source : regexp.source.toLowerCase(),
    };
  } catch (error) {
    throw new SseError(
      'INVALID_ENDPOINT',
      `the path of ${name} must be path-to-regexp 8 syntax, got '${whole}': /a/:id, /a{/:id}, /a/*rest`,
      { cause: error },
    );
  }
}

/** The path that is meant by a whole address, or by a path without its slash. */
function pathIn(text: string): string {
  return /^https?:/.test(text) && URL.canParse(text) ? new URL(text).pathname : `/${text}`;
}

/** Finds endpoints that would never be reached, because an earlier one has their path and request method. */
class DistinctPaths {
  readonly #owners = new Map<string, string>();

  /** @throws SseError `INVALID_ENDPOINT` */
  add(name: string, methods: readonly string[], { path, shape }: Pattern): void {
    for (const method of methods) {
      const key = `${method} ${shape}`;
      const owner = this.#owners.get(key);
      if (owner !== undefined) {
        throw new SseError(
          'INVALID_ENDPOINT',
          `two endpoints answer ${method} ${path}: ${owner} and ${name}; give one another path or other methods`,
        );
      }
      this.#owners.set(key, name);
    }
  }
}

/** Parameters that are the connection id without being asked; `clientId` is that of the Java starter. */
const ID_PARAMETERS = ['clientId', 'connectionId'];

/** @throws SseError `INVALID_ENDPOINT` when it is not clear what the connection id is */
function connectionIdOf(
  name: string,
  { path, parameters }: Pattern,
  { connectionId, resumable }: SseEndpointOptions,
): EndpointRoute['connectionIdOf'] {
  if (typeof connectionId === 'function') return request => assertText(name, connectionId(request));
  const parameter = connectionId ?? ID_PARAMETERS.find(each => parameters.includes(each));
  if (parameter !== undefined && !parameters.includes(parameter)) {
    throw new SseError(
      'INVALID_ENDPOINT',
      `connectionId of ${name} must name a parameter of '${path}' or be a function of the request, got '${parameter}'`,
    );
  }
  const [only] = parameters;
  if (parameter === undefined && only !== undefined && parameters.length === 1 && resumable === undefined) {
    throw new SseError(
      'INVALID_ENDPOINT',
      `${name} must say whether '${only}' of '${path}' is the connection id: connectionId: '${only}', or for a random one ` +
        'connectionId: () => randomUUID()',
    );
  }
  return request => (parameter === undefined ? undefined : request.params[parameter]);
}

/** A function of the application that gives no text must not become a random id in silence. */
function assertText(name: string, id: unknown): string {
  if (typeof id === 'string') return id;
  throw new SseError(
    'INVALID_CONNECTION_ID',
    `connectionId of ${name} must return text at once, got ${shownValue(id)}; without connectionId the id is random`,
  );
}

function topicsOf(name: string, { topics = [] }: SseEndpointOptions): EndpointRoute['topicsOf'] {
  if (typeof topics !== 'function') return () => topics;
  return request => {
    const given: unknown = topics(request);
    if (Array.isArray(given)) return given as readonly string[];
    throw new SseError(
      'INVALID_ENDPOINT',
      `topics of ${name} must return a list of topics at once, got ${shownValue(given)}; a guard may wait for what they ` +
        'depend on, and keep it in ctx.state',
    );
  };
}

/**
 * Finds controllers and guards that the container cannot build, before the first request does.
 * @throws SseError `INVALID_ENDPOINT`
 */
export function assertBound(container: Container, routes: readonly EndpointRoute[]): void {
  for (const { controller, guards } of routes) {
    for (const each of [controller, ...guards]) {
      if (container.isBound(each) || bindsByItself(container)) continue;
      const prototype = each.prototype as object;
      // A function that is no class may be meant as a guard.
      const role = each === controller || 'canConnect' in prototype ? '' : 'a class with canConnect(request), ';
      throw new SseError(
        'INVALID_ENDPOINT',
        `${each.name} must be ${role}bound before sseMiddleware is called: container.bind(${each.name}).toSelf()`,
      );
    }
  }
}

/** Whether the container was made with `autobind`, which it does not show. */
function bindsByItself(container: Container): boolean {
  class Probe {}
  const probe = container.get(Probe, { optional: true });
  if (probe !== undefined) container.unbind(Probe);
  return probe !== undefined;
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
