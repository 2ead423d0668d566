import { createHash } from 'node:crypto';
import type { Context } from 'koa';
import type { Logger } from '../contracts/logger.js';
import { SseError } from '../errors.js';
import { acceptOf } from '../koa/stream-request.js';
import { SCOPE } from '../telemetry/names.js';
import { type ActionRunner, bodyOf } from './actions.js';
import { MOST_ROWS } from './answers.js';
import { ASSETS } from './assets.js';
import type { About, ActionName } from './contract.js';
import { type Gate, refuseForeignAction, refuseForeignRead, secure, tokenOf, type Visitor } from './guard.js';
import { LATENCY_BOUNDS } from './reading.js';
import type { LiveFeed } from './live.js';
import { EVERY, Query, type ResourceName, RESOURCES, type Resources } from './resources.js';
import { SAMPLE_MS, type Station } from './station.js';
import type { Viewers } from './viewers.js';

/** What the requests of one console use. */
interface ConsoleServices {
  readonly gate: Gate;
  readonly station: Station;
  readonly resources: Resources;
  readonly feed: LiveFeed;
  readonly viewers: Viewers;
  readonly actions: ActionRunner;
  readonly logger: Logger;
  readonly traceLink: string | null;
}

const API = 'api/';

/** Answers the requests of one console. */
export class ConsoleRequests {
  readonly #names: readonly ActionName[];

  constructor(private readonly services: ConsoleServices) {
    // The keys of the table are just those.
    this.#names = Object.keys(services.actions) as ActionName[];
  }

  /** Answers a request, if its path is one of the console's. @param path below the console, without a slash in front */
  async answer(ctx: Context, path: string): Promise<boolean> {
    const handler = this.#handlerOf(path);
    if (handler === undefined) return false;
    try {
      secure(ctx);
      await handler(ctx);
    } catch (error) {
      answerError(ctx, error);
    }
    return true;
  }

  #handlerOf(path: string): ((ctx: Context) => Promise<void>) | undefined {
    const asset = path === '' ? 'index.html' : path;
    if (Object.hasOwn(ASSETS, asset)) return ctx => this.#asset(ctx, asset);
    if (!path.startsWith(API)) return undefined;
    const name = path.slice(API.length);
    const action = this.#names.find(each => each === name);
    if (action !== undefined) return ctx => this.#act(ctx, action);
    if (name === 'about') return ctx => this.#read(ctx, () => this.#about(ctx));
    if (name === 'log') return ctx => this.#read(ctx, query => this.services.resources.log(query));
    if (name === 'live') return ctx => this.#live(ctx);
    const resource = RESOURCES.find(each => each === name);
    return resource && (ctx => this.#resource(ctx, resource));
  }

  async #asset(ctx: Context, name: string): Promise<void> {
    allow(ctx, 'GET');
    await this.services.gate.admit(ctx, 'view');
    const asset = ASSETS[name];
    if (asset === undefined) return;
    ctx.status = 200;
    ctx.type = asset.type;
    // A browser asks each time, so that the guard is asked as well.
    ctx.set('Cache-Control', 'private, no-cache');
    ctx.set('ETag', etagOf(name, asset.body));
    if (ctx.fresh) ctx.status = 304;
    else ctx.body = asset.body;
  }

  async #read(ctx: Context, read: (query: Query) => Promise<object>): Promise<void> {
    await this.#admitReader(ctx);
    ctx.body = await read(new Query(ctx.query));
  }

  async #resource(ctx: Context, name: ResourceName): Promise<void> {
    const { resources, viewers } = this.services;
    if (acceptOf(ctx.req.headers) !== 'named') {
      await this.#read(ctx, query => resources.read(name, query));
      return;
    }
    await this.#admitReader(ctx);
    // A wrong parameter is answered with a status.
    await viewers.stream(ctx, await resources.follow(name, new Query(ctx.query)));
  }

  async #live(ctx: Context): Promise<void> {
    await this.#admitReader(ctx);
    await this.services.viewers.stream(ctx, signal => this.services.feed.events(signal));
  }

  async #admitReader(ctx: Context): Promise<void> {
    allow(ctx, 'GET');
    refuseForeignRead(ctx);
    await this.services.gate.admit(ctx, 'view');
  }

  async #about(ctx: Context): Promise<About> {
    const { station, gate, traceLink } = this.services;
    const actions: ActionName[] = [];
    for (const action of this.#names) {
      const admitted = await gate.admit(ctx, action).then(
        () => true,
        (error: unknown) => {
          if (SseError.is(error, 'FORBIDDEN')) return false;
          throw error;
        },
      );
      if (admitted) actions.push(action);
    }
    return {
      version: SCOPE.version,
      nodeId: station.nodeId,
      token: tokenOf(ctx),
      traceLink,
      actions,
      limits: { rows: MOST_ROWS, every: EVERY },
      latencyBounds: LATENCY_BOUNDS,
      tickMs: SAMPLE_MS,
    };
  }

  async #act(ctx: Context, action: ActionName): Promise<void> {
    allow(ctx, 'POST');
    refuseForeignAction(ctx);
    const visitor = await this.services.gate.admit(ctx, action);
    const run = this.services.actions[action];
    try {
      const { target, outcome, answer } = await run(await bodyOf(ctx));
      this.#audit(ctx, visitor, action, target, outcome);
      ctx.body = answer;
    } catch (error) {
      this.#audit(ctx, visitor, action, '', SseError.is(error) ? error.code : 'INTERNAL');
      throw error;
    }
  }

  /** One record for each action, without its payload. */
  #audit(ctx: Context, { user }: Visitor, action: ActionName, target: string, outcome: string): void {
    const { logger, station } = this.services;
    logger.info('an action of the console', { action, target, outcome, user, address: ctx.ip });
    station.node.audit.record({ kind: 'action', action, target, outcome, by: user ?? undefined, address: ctx.ip });
    station.recorder?.note({ kind: 'action', action, target, outcome });
  }
}

/** @throws SseError `METHOD_NOT_ALLOWED` */
function allow(ctx: Context, method: 'GET' | 'POST'): void {
  if (ctx.method === method || (method === 'GET' && ctx.method === 'HEAD')) return;
  ctx.set('Allow', method === 'GET' ? 'GET, HEAD' : method);
  throw new SseError('METHOD_NOT_ALLOWED', `this path answers ${method}, got ${ctx.method}`);
}

/** As the middleware of the streams answers errors; every answer of the console is a status. */
function answerError(ctx: Context, error: unknown): void {
  if (ctx.headerSent || ctx.respond === false) return;
  if (!SseError.is(error)) throw error;
  const { code, message, status } = error;
  ctx.status = status === 204 ? 409 : status;
  if (status >= 500 && code === 'INTERNAL') ctx.app.emit('error', error, ctx);
  ctx.body = { error: { code, message: code === 'INTERNAL' ? 'the server failed' : message } };
}

const ETAGS = new Map<string, string>();

function etagOf(name: string, body: string): string {
  const known = ETAGS.get(name);
  if (known !== undefined) return known;
  const etag = `"${createHash('sha256').update(body).digest('base64url')}"`;
  ETAGS.set(name, etag);
  return etag;
}
