import type { Context } from 'koa';

/** What the package on-finished keeps on a response. */
interface Awaited {
  __onFinished?: { readonly queue?: readonly unknown[] | null } | null;
}

/**
 * Ends Koa's own wait for the end of the response, which would hold the context for the life of its socket. When others
 * wait in the same queue, as loggers of access do, they and the context stay.
 */
export function forgetContext({ res }: Context): void {
  const response: Awaited & typeof res = res;
  // Koa was first. Only on-finished listens for `end` on a response: Node never emits it.
  if (response.__onFinished?.queue?.length === 1) response.emit('end');
}
