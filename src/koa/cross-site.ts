import type { Context } from 'koa';
import { SseError } from '../errors.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';

/** `limits.crossSite` */
export type CrossSite = ResolvedSseOptions['limits']['crossSite'];

// What browsers send (Fetch Metadata, section 2.3); any other value is to be ignored.
const SITES: ReadonlySet<unknown> = new Set(['same-origin', 'same-site', 'none', 'cross-site']);

/**
 * Refuses a request that a page of another site sent. Such a request carries the cookies of the user and can take over a
 * connection, whether or not the page may read the answer.
 *
 * `Sec-Fetch-Site` alone says whether a request is cross-site: a page cannot set it. Without it, which is so for older
 * browsers and for plain HTTP, an `Origin` beside a cookie must be that of `ctx.host`. An origin in the list passes.
 * @throws SseError `FORBIDDEN`
 */
export function refuseCrossSite(ctx: Context, allowed: CrossSite): void {
  if (allowed === 'allow') return;
  const { headers } = ctx.req;
  const { origin } = headers;
  const site = headers['sec-fetch-site'];
  if (site === undefined && origin === undefined) return;
  const foreign = SITES.has(site)
    ? site === 'cross-site'
    : origin !== undefined && headers.cookie !== undefined && !isOriginOf(origin, ctx.host);
  if (!foreign || (origin !== undefined && allowed !== 'refuse' && allowed.includes(origin))) return;
  throw new SseError(
    'FORBIDDEN',
    `a page of another site may not open this stream, got ${origin === undefined ? 'no origin' : `'${origin.slice(0, 200)}'`}; ` +
      'list the origin in limits.crossSite if it may',
  );
}

/** Whether an origin has this host; a default port may be written or left out. */
function isOriginOf(origin: string, host: string): boolean {
  if (!URL.canParse(origin)) return false;
  const { protocol, host: own } = new URL(origin);
  const asked = `${protocol}//${host}`;
  return host !== '' && URL.canParse(asked) && new URL(asked).host === own;
}
