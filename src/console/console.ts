import type { Container } from 'inversify';
import type { Context, Middleware } from 'koa';
import { Logger } from '../contracts/logger.js';
import { SseService } from '../contracts/service.js';
import { SseError } from '../errors.js';
import { assertKnownKeys, shownValue } from '../options/problems.js';
import { ResolvedSseOptions } from '../options/sse-options.js';
import { actionsOf } from './actions.js';
import { checkGuard, type ConsoleGuard, Gate } from './guard.js';
import { LiveFeed } from './live.js';
import { ConsoleRequests } from './requests.js';
import { Resources } from './resources.js';
import { Station } from './station.js';
import { Viewers } from './viewers.js';

/** Settings of {@link sseConsole}. */
export interface SseConsoleOptions {
  /**
   * Who may look and act. `false`: every visitor may, which suits a console that listens on loopback only. There is no default.
   */
  readonly guard: ConsoleGuard | false;
  /** Where the console is, from the root of the application or of its mount. Default `/console`; below koa-mount `/`. */
  readonly path?: string;
  /**
   * The address of a trace, with `{traceId}` in it: `https://jaeger.example/trace/{traceId}`. It begins with `http://` or
   * `https://`. Default: no links.
   */
  readonly traceLink?: string;
}

/**
 * The console: a page that shows the cluster live and acts on it, and the same as JSON under `api/`, see docs/console.md. Each
 * node that mounts it is seen by the consoles of all nodes; mount it in every process. It samples only while somebody looks.
 * Requests for other paths pass through.
 * @throws SseError `INVALID_OPTION`
 */
export function sseConsole(container: Container, options: SseConsoleOptions): Middleware {
  // A caller in JavaScript may have left them out.
  if (typeof options !== 'object') checkGuard(options);
  assertKnownKeys('sseConsole', options, ['guard', 'path', 'traceLink']);
  checkGuard(options.guard);
  const path = options.path === undefined ? undefined : checkedPath(options.path);
  const traceLink = options.traceLink === undefined ? null : checkedTraceLink(options.traceLink);
  if (typeof (container as Partial<Container>).isBound !== 'function' || !container.isBound(SseService)) {
    throw new SseError(
      'INVALID_OPTION',
      'sseConsole must be called with the container that has sseModule: sseConsole(container, { guard })',
    );
  }
  const service = container.get(SseService);
  const logger = container.get(Logger);
  const { guards } = container.get(ResolvedSseOptions);
  const station = Station.of(service);
  const { feed, viewers } = streamsOf(station);
  const requests = new ConsoleRequests({
    ...{ station, feed, viewers, logger, traceLink },
    gate: new Gate(options.guard, container, guards.timeout),
    resources: new Resources(station),
    actions: actionsOf(service, station),
  });
  return async (ctx, next) => {
    const below = belowConsole(ctx, path);
    if (below === 'redirect') addSlash(ctx);
    else if (below === undefined || !(await requests.answer(ctx, below.path))) await next();
  };
}

interface Streams {
  readonly feed: LiveFeed;
  readonly viewers: Viewers;
}

/** What the consoles of one node share: an application may mount several, with different guards. */
const STREAMS = new WeakMap<Station, Streams>();

function streamsOf(station: Station): Streams {
  const known = STREAMS.get(station);
  if (known !== undefined) return known;
  const streams = { feed: new LiveFeed(station), viewers: new Viewers(station) };
  STREAMS.set(station, streams);
  return streams;
}

/** The path below the console; `redirect` when the slash at its end is missing; `undefined` for another path. */
function belowConsole(ctx: Context, path: string | undefined): { readonly path: string } | 'redirect' | undefined {
  const asked = pathOf(ctx.originalUrl);
  // Below koa-mount, the path is without its beginning.
  const base = path ?? (asked === ctx.path ? '/console/' : '/');
  if (ctx.path.startsWith(base)) {
    const below = ctx.path.slice(base.length);
    return below === '' && !asked.endsWith('/') ? 'redirect' : { path: below };
  }
  return `${ctx.path}/` === base ? 'redirect' : undefined;
}

/** Relative, so that a proxy may show the console under another path. The addresses in the page need the slash. */
function addSlash(ctx: Context): void {
  const last = pathOf(ctx.originalUrl).split('/').at(-1) ?? '';
  ctx.status = 302;
  ctx.set('Location', `./${last}/`);
  ctx.body = '';
}

function pathOf(url: string): string {
  const [path = ''] = url.split('?', 1);
  return path;
}

/** With a slash at its end. @throws SseError `INVALID_OPTION` */
function checkedPath(path: unknown): string {
  if (typeof path === 'string' && /^\/[^?#]*$/.test(path)) return path.endsWith('/') ? path : `${path}/`;
  throw new SseError('INVALID_OPTION', `path of sseConsole must be text that begins with '/', got ${shownValue(path)}`);
}

const LINK = /^https?:\/\/[^/]/i;

/** @throws SseError `INVALID_OPTION` */
function checkedTraceLink(link: unknown): string {
  if (typeof link === 'string' && LINK.test(link) && link.includes('{traceId}')) {
    if (URL.canParse(link.replaceAll('{traceId}', '0'))) return link;
  }
  throw new SseError(
    'INVALID_OPTION',
    `traceLink of sseConsole must begin with http:// or https:// and have {traceId} in it, got ${shownValue(link)}; ` +
      'for example https://jaeger.example/trace/{traceId}',
  );
}
