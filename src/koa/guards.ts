import { Http2ServerResponse, type Http2Session } from 'node:http2';
import type { Container } from 'inversify';
import type { Context } from 'koa';
import type { Admission } from '../contracts/authorization.js';
import type { Audit, Logger } from '../contracts/logger.js';
import type { ConnectionTelemetry } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import { networkOf } from '../node/limits.js';
import { checkOptions, EXPIRY, TOPICS } from '../options/arguments.js';
import { shownValue } from '../options/problems.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { checkUser } from '../protocol/names.js';
import { withTimeout } from '../time.js';
import type { EndpointRequest } from './endpoints.js';
import type { EndpointRoute } from './routes.js';

/** What asking the guards needs. */
export interface GuardServices {
  readonly container: Container;
  readonly logger: Logger;
  readonly telemetry: ConnectionTelemetry;
  /** `guards.timeout` */
  readonly timeout: number;
  readonly limits: RequestLimits;
}

/**
 * Asks the guards of an endpoint one after the other, before anything is registered. Resolves to what they found out about the
 * client together. Every refusal is counted.
 * @throws SseError `FORBIDDEN` with the status that a guard chose, `CONNECTION_LIMIT` while too many are asked, `UNAVAILABLE` when the guards together took longer than
 * `guards.timeout`, `INTERNAL` when a guard answered with what is no verdict, or two with different users; and what a guard
 * throws
 */
export async function admit(
  route: EndpointRoute,
  request: EndpointRequest,
  services: GuardServices,
): Promise<Admission | undefined> {
  if (route.guards.length === 0) return undefined;
  const { limits, telemetry } = services;
  try {
    return await limits.guarding(request, () => askInTime(route, request, services));
  } catch (error) {
    telemetry.refused(undefined, error);
    throw error;
  }
}

function askInTime(
  route: EndpointRoute,
  request: EndpointRequest,
  services: GuardServices,
): Promise<Admission | undefined> {
  const { logger, timeout } = services;
  const asked = { guard: '' };
  return withTimeout(askAll(route, request, services, asked), timeout, () => {
    logger.warn('a guard did not answer in time; the client is sent away for a while', { ...asked, path: route.path });
    throw new SseError('UNAVAILABLE', `guards must answer within ${timeout} ms (guards.timeout); connect again later`);
  });
}

async function askAll(
  { guards, path }: EndpointRoute,
  request: EndpointRequest,
  { container, logger }: GuardServices,
  asked: { guard: string },
): Promise<Admission | undefined> {
  let admission: Admission | undefined;
  for (const guardClass of guards) {
    asked.guard = guardClass.name;
    const guard = await container.getAsync(guardClass);
    if (typeof (guard as Partial<typeof guard>).canConnect !== 'function') {
      throw new SseError(
        'INVALID_ENDPOINT',
        `${guardClass.name} must have a method canConnect(request), since it is a guard`,
      );
    }
    const verdict: unknown = await guard.canConnect(request);
    if (verdict === true) continue;
    if (typeof verdict === 'object' && verdict !== null) {
      admission = joined(admission, admissionOf(verdict, guardClass.name), guardClass.name);
      continue;
    }
    const status = statusOf(verdict, guardClass.name);
    logger.debug('a guard does not admit a request', { guard: guardClass.name, path });
    throw new SseError('FORBIDDEN', `${guardClass.name} does not admit this request${slipOf(verdict)}`, { status });
  }
  return admission;
}

/** What to write instead of an answer that no guard gives on purpose, for the message of the refusal. */
function slipOf(verdict: unknown): string {
  if (typeof verdict === 'boolean' || typeof verdict === 'number') return '';
  return `: it answered ${shownValue(verdict, true)}; return true or an object with a user`;
}

/** What a guard found out about a client. @throws SseError `INTERNAL` */
function admissionOf(answer: object, guard: string): Admission {
  const { user, expiresAt, topics } = answer as Readonly<Partial<Record<keyof Admission, unknown>>>;
  try {
    checkUser(user);
  } catch (cause) {
    throw new SseError('INTERNAL', `${guard} must answer with a user, got ${shownValue(user)}; return { user: id }`, {
      cause,
    });
  }
  checkOptions(`the answer of ${guard}`, { expiresAt, topics }, { expiresAt: EXPIRY, topics: TOPICS }, 'INTERNAL');
  return {
    user,
    // Both have just been checked.
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt as Date }),
    ...(topics === undefined ? {} : { topics: topics as readonly string[] }),
  };
}

/** What two guards found out together: the earlier end, and the topics that both allow. @throws SseError `INTERNAL` */
function joined(one: Admission | undefined, other: Admission, guard: string): Admission {
  if (one === undefined) return other;
  if (one.user !== other.user) {
    throw new SseError('INTERNAL', `all guards of a request must answer with one user; ${guard} answered with another`);
  }
  const ends = [one.expiresAt, other.expiresAt].filter(end => end !== undefined).map(Number);
  const topics = one.topics && other.topics ? one.topics.filter(topic => other.topics?.includes(topic)) : undefined;
  const allowed = topics ?? one.topics ?? other.topics;
  return {
    user: one.user,
    ...(ends.length === 0 ? {} : { expiresAt: new Date(Math.min(...ends)) }),
    ...(allowed === undefined ? {} : { topics: allowed }),
  };
}

/** The status that a guard chose; `undefined` for that of `FORBIDDEN`. @throws SseError `INTERNAL` */
function statusOf(verdict: unknown, guard: string): number | undefined {
  if (typeof verdict !== 'number') return undefined;
  if (Number.isInteger(verdict) && verdict >= 400 && verdict <= 599) return verdict;
  throw new SseError(
    'INTERNAL',
    `${guard} must answer true, false, a status from 400 to 599 or an object with a user, got ${verdict}`,
  );
}

/** What decides about a request for a stream before guards and handlers do. */
export class RequestLimits {
  // Requests for streams that are under way, streams included, by HTTP/2 session.
  readonly #sessions = new WeakMap<Http2Session, number>();
  // Requests whose guards are under way: all of them, and by network.
  #guarded = 0;
  readonly #guardedBy = new Map<string, number>();
  readonly #usesAddress: boolean;
  #warned = false;

  constructor(
    private readonly options: Pick<ResolvedSseOptions, 'limits' | 'guards'>,
    private readonly logger: Logger,
    audit: Audit,
  ) {
    const { maxConnectionsPerAddress, maxConnectsPerMinute, maxReplayBytesPerMinute } = options.limits;
    const limits = [maxConnectionsPerAddress, maxConnectsPerMinute, maxReplayBytesPerMinute];
    this.#usesAddress = audit.on || limits.some(limit => limit !== false);
  }

  /** @throws SseError `FORBIDDEN` for a page of another site, `CONNECTION_LIMIT` for an HTTP/2 session that has its share */
  enter(ctx: Context): void {
    const { crossSite, maxConnectionsPerHttp2: most } = this.options.limits;
    refuseCrossSite(ctx, crossSite);
    const response: object = ctx.res;
    // A proxy puts the requests of many clients on one session.
    if (most === false || ctx.app.proxy || !(response instanceof Http2ServerResponse)) return;
    const { session } = response.stream;
    if (session === undefined) return;
    const before = this.#sessions.get(session) ?? 0;
    if (before >= most) {
      const setting = 'limits.maxConnectionsPerHttp2';
      throw new SseError(
        'CONNECTION_LIMIT',
        `this HTTP/2 connection has ${most} streams (${setting}); open another one`,
        { limit: setting },
      );
    }
    this.#sessions.set(session, before + 1);
    response.stream.once('close', () => this.#sessions.set(session, (this.#sessions.get(session) ?? 1) - 1));
  }

  /** From where the client connects; `undefined` where no limit and no record needs the address. */
  addressOf(ctx: Context): string | undefined {
    if (!this.#usesAddress) return undefined;
    if (!ctx.app.proxy && !this.#warned && ctx.req.headers['x-forwarded-for'] !== undefined) {
      this.#warned = true;
      this.logger.warn(
        'a request has X-Forwarded-For, and app.proxy is false: behind a proxy all clients have its address; set app.proxy ' +
          'and app.maxIpsCount, or switch limits by address off',
        { address: ctx.ip },
      );
    }
    return ctx.ip;
  }

  /** Runs the guards of a request. @throws SseError `CONNECTION_LIMIT` while too many are under way */
  async guarding<T>(ctx: Context, guards: () => Promise<T>): Promise<T> {
    const { guards: settings, limits } = this.options;
    if (this.#guarded >= settings.maxPending) throw tooManyGuards(settings.maxPending, 'guards.maxPending');
    const perAddress = limits.maxConnectionsPerAddress;
    const network = perAddress === false ? undefined : networkOf(ctx.ip);
    const before = network === undefined ? 0 : (this.#guardedBy.get(network) ?? 0);
    if (perAddress !== false && before >= perAddress) {
      throw tooManyGuards(perAddress, 'limits.maxConnectionsPerAddress');
    }
    this.#guarded += 1;
    if (network !== undefined) this.#guardedBy.set(network, before + 1);
    try {
      return await guards();
    } finally {
      this.#guarded -= 1;
      if (network !== undefined) this.#release(network);
    }
  }

  #release(network: string): void {
    const left = (this.#guardedBy.get(network) ?? 1) - 1;
    if (left > 0) this.#guardedBy.set(network, left);
    else this.#guardedBy.delete(network);
  }
}

function tooManyGuards(most: number, setting: string): SseError {
  return new SseError(
    'CONNECTION_LIMIT',
    `the guards of ${most} requests are under way (${setting}); connect again later`,
    { limit: setting },
  );
}

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
export function refuseCrossSite(ctx: Context, allowed: ResolvedSseOptions['limits']['crossSite']): void {
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
