import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Context } from 'koa';
import { SseError } from '../errors.js';

/**
 * The headers of every answer. The page runs its own files only, asks nothing of another host, is in no frame, and, in browsers
 * that know trusted types, cannot turn text into markup.
 */
const HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'Cache-Control': 'no-store',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
} as const;

const COOKIE = 'sse-console-token';
const TOKEN = /^[\w-]{43}$/;

/** Sets the headers of an answer. */
export function secure(ctx: Context): void {
  ctx.set(HEADERS);
}

/**
 * Refuses a read by a page of another site, or of another host of the same site; a link to the console may be followed.
 * @throws SseError `FORBIDDEN`
 */
export function refuseForeignRead({ req: { headers } }: Context): void {
  const site = headers['sec-fetch-site'];
  if (site !== 'cross-site' && site !== 'same-site') return;
  throw new SseError('FORBIDDEN', 'only the page of the console may read this; open it at its own address');
}

/**
 * Refuses an action that the page of the console did not ask for. `Sec-Fetch-Site: same-origin` shows that it did: no page can
 * set that header. Browsers leave it out on plain HTTP; then the token of `about` must be in `X-Console-Token`, which a page of
 * another origin can neither read nor send, and in the cookie of the same answer.
 * @throws SseError `FORBIDDEN`
 */
export function refuseForeignAction(ctx: Context): void {
  const { headers } = ctx.req;
  const site = headers['sec-fetch-site'];
  if (site === 'same-origin') return;
  if (site === undefined && isToken(headers['x-console-token'], ctx.cookies.get(COOKIE))) return;
  throw new SseError(
    'FORBIDDEN',
    'an action needs Sec-Fetch-Site: same-origin, or the token of api/about in X-Console-Token beside its cookie; ' +
      'ask for api/about again',
  );
}

/** The token of this visitor; a new one is set as a cookie that scripts and other sites cannot use. */
export function tokenOf(ctx: Context): string {
  const present = ctx.cookies.get(COOKIE);
  if (present !== undefined && TOKEN.test(present)) return present;
  const token = randomBytes(32).toString('base64url');
  // For any path: a proxy may show the console under another one.
  ctx.cookies.set(COOKIE, token, { httpOnly: true, sameSite: 'strict', secure: ctx.secure, signed: false });
  return token;
}

function isToken(sent: string | string[] | undefined, own: string | undefined): boolean {
  if (typeof sent !== 'string' || own === undefined || !TOKEN.test(sent) || !TOKEN.test(own)) return false;
  return timingSafeEqual(Buffer.from(sent), Buffer.from(own));
}
