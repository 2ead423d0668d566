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
