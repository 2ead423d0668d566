import type { Newable } from 'inversify';
import type { Context } from 'koa';
import { match, type MatchFunction } from 'path-to-regexp';
import type { SseGuard } from '../contracts/authorization.js';
import { SseError } from '../errors.js';
import { controllerOf, endpointsOf, type SseEndpointOptions } from './endpoints.js';

/** A class with at least one `@SseEndpoint`. */
export type ControllerClass = Newable<object>;

/** One endpoint, ready to be matched. */
export interface EndpointRoute {
  readonly controller: ControllerClass;
  readonly method: string | symbol;
  readonly methods: readonly string[];
  readonly guards: readonly Newable<SseGuard>[];
  readonly options: SseEndpointOptions;
  /** The path pattern, as it is told to people. */
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
  if (method === undefined || isMethod((prototype as Record<string, unknown>)[method])) return;
  throw new SseError(
    'INVALID_ENDPOINT',
    `onReset must name a method of ${name}, got '${method}'; write the method or leave onReset out`,
  );
}

function isMethod(value: unknown): boolean {
  return typeof value === 'function';
}

function matcher(controller: string, path: string): EndpointRoute['match'] {
  try {
    // Undecoded: broken percent-encoding is the client's mistake and answered as such, not a route that is not there.
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

/** The routes with this path, whatever their methods, in their order. */
export function matchRoutes(routes: readonly EndpointRoute[], path: string): MatchedRoute[] {
  const matched: MatchedRoute[] = [];
  for (const route of routes) {
    const result = route.match(path);
    if (result !== false) matched.push({ route, params: result.params });
  }
  return matched;
}

/** The first of them that answers the request's method. @throws SseError `METHOD_NOT_ALLOWED`; `Allow` is set */
export function chooseByMethod(matched: readonly MatchedRoute[], ctx: Context): MatchedRoute {
  const chosen = matched.find(({ route }) => route.methods.includes(ctx.method));
  if (chosen !== undefined) return chosen;
  const allowed = [...new Set(matched.flatMap(({ route }) => route.methods))].join(', ');
  ctx.set('Allow', allowed);
  throw new SseError('METHOD_NOT_ALLOWED', `this path answers ${allowed}, got ${ctx.method}`);
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
    throw new SseError(
      'INVALID_REQUEST',
      `the path must be percent-encoded UTF-8, got '${value.slice(0, 80)}'`,
      { cause: error },
    );
  }
}
