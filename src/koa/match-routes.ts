import type { Context } from 'koa';
import { SseError } from '../errors/sse-error.js';
import type { PathParams } from './decode-params.js';
import type { EndpointRoute } from './endpoint-route.js';

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
