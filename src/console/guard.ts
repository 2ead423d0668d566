import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Container, Newable } from 'inversify';
import type { Context } from 'koa';
import type { SseGuard } from '../contracts/authorization.js';
import { SseError } from '../errors.js';
import type { EndpointRequest } from '../koa/endpoints.js';
import { shownValue } from '../options/problems.js';
import { withTimeout } from '../time.js';
import type { ActionName } from './contract.js';

/** What a visitor of the console wants: to look, or to do something. */
export type ConsolePurpose = 'view' | ActionName;

/** As a guard of an endpoint: `true`, or who the visitor is, lets the request pass; a number from 400 to 599 is the status. */
type ConsoleVerdict = boolean | number | { readonly user: string };

/**
 * Decides who may look, and who may do what. A function is asked with the purpose; a class, which the container builds, as the
 * guard of an endpoint, and what it admits may do everything.
 */
export type ConsoleGuard =
  | ((ctx: Context, purpose: ConsolePurpose) => ConsoleVerdict | Promise<ConsoleVerdict>)
  | Newable<{ canConnect(request: EndpointRequest): ReturnType<SseGuard['canConnect']> }>;

/** Who an admitted visitor is; `null` when the guard does not say. */
export interface Visitor {
  readonly user: string | null;
}

/** Asks the guard of a console. */
export class Gate {
  constructor(
    private readonly guard: ConsoleGuard | false,
    private readonly container: Container,
    private readonly timeout: number,
  ) {}

  /** @throws SseError `FORBIDDEN` with the status that the guard chose, `UNAVAILABLE` when it is late; what the guard throws */
  async admit(ctx: Context, purpose: ConsolePurpose): Promise<Visitor> {
    const verdict = await this.#ask(ctx, purpose);
    if (verdict === true) return { user: null };
    if (typeof verdict === 'object' && verdict !== null && 'user' in verdict && typeof verdict.user === 'string') {
      return { user: verdict.user };
    }
    if (verdict === false) throw refused(403, purpose);
    if (typeof verdict === 'number' && Number.isInteger(verdict) && verdict >= 400 && verdict <= 599) {
      throw refused(verdict, purpose);
    }
    throw new SseError(
      'INTERNAL',
      `the guard of the console must answer true, false, a status from 400 to 599 or a user, got ${shownValue(verdict)}`,
    );
  }

  async #ask(ctx: Context, purpose: ConsolePurpose): Promise<unknown> {
    const { guard, container, timeout } = this;
    if (guard === false) return true;
    const asked = async (): Promise<unknown> => {
      if (!isClass(guard)) return guard(ctx, purpose);
      const built = await container.getAsync(guard);
      const { params = {} } = ctx as { readonly params?: EndpointRequest['params'] };
      return built.canConnect(Object.assign(ctx, { params }));
    };
    return withTimeout(asked(), timeout, () => {
      throw new SseError('UNAVAILABLE', `the guard must answer within ${timeout} ms (guards.timeout); try again later`);
    });
  }
}

/** @throws SseError `INVALID_OPTION` */
export function checkGuard(guard: unknown): asserts guard is ConsoleGuard | false {
  if (typeof guard === 'function' || guard === false) return;
  throw new SseError(
    'INVALID_OPTION',
    `sseConsole needs a guard, a function or a class with canConnect, got ${shownValue(guard)}; the console shows and ends ` +
      'the streams of all users. guard: false opens it to every visitor',
  );
}

function refused(status: number, purpose: ConsolePurpose): SseError {
  return new SseError('FORBIDDEN', `the guard does not admit this visitor (${purpose})`, { status });
}

function isClass(guard: ConsoleGuard): guard is Extract<ConsoleGuard, Newable<object>> {
  const { prototype } = guard as { readonly prototype?: unknown };
  return typeof prototype === 'object' && prototype !== null && 'canConnect' in prototype;
}

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
