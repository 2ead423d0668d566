import { match, type MatchFunction } from 'path-to-regexp';
import type { Newable } from 'inversify';
import type { SseGuard } from '../contracts/sse-request.js';
import {
  controllerOf,
  endpointsOf,
  type SseEndpointOptions,
} from '../decorators/endpoint-metadata.js';
import { SseError } from '../errors/sse-error.js';
import type { PathParams } from './decode-params.js';

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
