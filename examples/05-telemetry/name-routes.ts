import { context } from '@opentelemetry/api';
import { getRPCMetadata, RPCType } from '@opentelemetry/core';
import type { Context, Next } from 'koa';

/**
 * A middleware in front of the routers of `@koa/router`: requests are named by their route, `POST /sse/send{/:clientId}`, in
 * spans and in metrics. The HTTP instrumentation knows no routes. The endpoints of the library name themselves.
 */
export async function nameRoutes(ctx: Context, next: Next): Promise<void> {
  try {
    await next();
  } finally {
    // @koa/router leaves the pattern there.
    const { _matchedRoute: route } = ctx as { readonly _matchedRoute?: string | RegExp };
    if (typeof route === 'string') nameRoute(route);
  }
}

/** Names the request that is being answered; for routes without a router. */
export function nameRoute(route: string): void {
  const metadata = getRPCMetadata(context.active());
  if (metadata?.type === RPCType.HTTP) metadata.route = route;
}
