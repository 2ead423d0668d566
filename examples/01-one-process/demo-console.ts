import { timingSafeEqual } from 'node:crypto';
import type { Container } from 'inversify';
import type { Context, Middleware } from 'koa';
import { sseConsole, type ConsoleGuard } from '../../src/console/index.js';

const PATH = '/console';
const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '::1', '[::1]', 'localhost']);

/** The console of the demo, and where it is. */
export interface DemoConsole {
  readonly path: string;
  readonly middleware: Middleware;
}

/**
 * The console, for visitors that may use it: with `CONSOLE_TOKEN` those who give it as the password of HTTP Basic, without it
 * those of this machine. A demo that listens elsewhere without a token has none. `TRACE_LINK` is the address of a trace, with
 * `{traceId}` in it.
 */
export function demoConsole(container: Container, env: NodeJS.ProcessEnv): DemoConsole | undefined {
  const { CONSOLE_TOKEN: token, HOST = '127.0.0.1', TRACE_LINK: traceLink } = env;
  if (!token && !LOOPBACK.has(HOST)) return undefined;
  const guard: ConsoleGuard = token ? ctx => hasPassword(ctx, token) : ({ hostname }) => LOOPBACK.has(hostname);
  return {
    path: `${PATH}/`,
    middleware: sseConsole(container, { guard, path: PATH, ...(traceLink ? { traceLink } : {}) }),
  };
}

function hasPassword(ctx: Context, token: string): true | number {
  const [, given = ''] = /^Basic (\S+)$/i.exec(ctx.get('Authorization')) ?? [];
  const [, ...password] = Buffer.from(given, 'base64').toString().split(':');
  const [sent, own] = [Buffer.from(password.join(':')), Buffer.from(token)];
  if (sent.length === own.length && timingSafeEqual(sent, own)) return true;
  ctx.set('WWW-Authenticate', 'Basic realm="console", charset="UTF-8"');
  return 401;
}
