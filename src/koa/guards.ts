import type { Container } from 'inversify';
import type { Admission } from '../contracts/authorization.js';
import type { Logger } from '../contracts/logger.js';
import type { ConnectionTelemetry } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import { EXPIRY, TOPICS } from '../options/arguments.js';
import { shownValue } from '../options/problems.js';
import { checkUser } from '../protocol/users.js';
import { withTimeout } from '../time.js';
import type { EndpointRequest } from './endpoints.js';
import type { RequestLimits } from './request-limits.js';
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
    const verdict: unknown = await guard.canConnect(request);
    if (verdict === true) continue;
    if (typeof verdict === 'object' && verdict !== null) {
      admission = joined(admission, admissionOf(verdict, guardClass.name), guardClass.name);
      continue;
    }
    const status = statusOf(verdict, guardClass.name);
    logger.debug('a guard does not admit a request', { guard: guardClass.name, path });
    throw new SseError('FORBIDDEN', `${guardClass.name} does not admit this request`, { status });
  }
  return admission;
}

/** What a guard found out about a client. @throws SseError `INTERNAL` */
function admissionOf(answer: object, guard: string): Admission {
  const { user, expiresAt, topics } = answer as Readonly<Partial<Record<keyof Admission, unknown>>>;
  try {
    checkUser(user);
  } catch (cause) {
    throw new SseError('INTERNAL', `${guard} must answer with a user, got ${shownValue(user)}`, { cause });
  }
  return {
    user,
    ...(expiresAt === undefined ? {} : { expiresAt: checked(guard, 'expiresAt', expiresAt, EXPIRY) }),
    ...(topics === undefined ? {} : { topics: checked(guard, 'topics', topics, TOPICS) }),
  };
}

type Rule<T> = readonly [rule: string, accepts: (value: unknown) => value is T];

/** @throws SseError `INTERNAL` */
function checked<T>(guard: string, name: string, value: unknown, [rule, accepts]: Rule<T>): T {
  if (accepts(value)) return value;
  throw new SseError('INTERNAL', `${name} of the answer of ${guard} must be ${rule}, got ${shownValue(value)}`);
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
