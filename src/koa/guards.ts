import type { Container } from 'inversify';
import type { Logger } from '../contracts/logger.js';
import type { ConnectionTelemetry } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
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
}

/**
 * Asks the guards of an endpoint one after the other, before anything is registered. Every refusal is counted.
 * @throws SseError `FORBIDDEN` with the status that a guard chose, `UNAVAILABLE` when the guards together took longer than
 * `guards.timeout`, `INTERNAL` when a guard answered with what is no verdict; and what a guard throws
 */
export async function admit(route: EndpointRoute, request: EndpointRequest, services: GuardServices): Promise<void> {
  if (route.guards.length === 0) return;
  const { logger, telemetry, timeout } = services;
  const asked = { guard: '' };
  try {
    await withTimeout(askAll(route, request, services, asked), timeout, () => {
      logger.warn('a guard did not answer in time; the client is sent away for a while', {
        ...asked,
        path: route.path,
      });
      throw new SseError(
        'UNAVAILABLE',
        `guards must answer within ${timeout} ms (guards.timeout); connect again later`,
      );
    });
  } catch (error) {
    telemetry.refused(undefined, error);
    throw error;
  }
}

async function askAll(
  { guards, path }: EndpointRoute,
  request: EndpointRequest,
  { container, logger }: GuardServices,
  asked: { guard: string },
): Promise<void> {
  for (const guardClass of guards) {
    asked.guard = guardClass.name;
    const guard = await container.getAsync(guardClass);
    const verdict: unknown = await guard.canConnect(request);
    if (verdict === true) continue;
    const status = statusOf(verdict, guardClass.name);
    logger.debug('a guard does not admit a request', { guard: guardClass.name, path });
    throw new SseError('FORBIDDEN', 'this request is not admitted', { status });
  }
}

/** The status that a guard chose; `undefined` for that of `FORBIDDEN`. @throws SseError `INTERNAL` */
function statusOf(verdict: unknown, guard: string): number | undefined {
  if (typeof verdict !== 'number') return undefined;
  if (Number.isInteger(verdict) && verdict >= 400 && verdict <= 599) return verdict;
  throw new SseError('INTERNAL', `${guard} must answer true, false or a status from 400 to 599, got ${verdict}`);
}
