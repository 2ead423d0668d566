/** Compiled and never run: each `@ts-expect-error` fails the build when the compiler lets the line pass. */
import { Container, inject, injectable } from 'inversify';
import type { RouterContext } from '@koa/router';
import Koa, { type Context } from 'koa';
import {
  SseController,
  SseEndpoint,
  sseMiddleware,
  sseModule,
  SseService,
  type EndpointRequest,
  type SseConnection,
  type SseGuard,
  type SseRequest,
} from '../../src/index.js';

interface Events {
  note: { text: string };
}

class PlainKoaGuard {
  canConnect(ctx: Context): boolean {
    return ctx.get('Authorization') !== '';
  }
}

/** Injected by token, under `emitDecoratorMetadata`. */
@injectable()
export class TypedController {
  constructor(@inject(SseService) private readonly sse: SseService<Events>) {}

  @SseEndpoint('/nothing')
  nothing(): void {
    this.sse.broadcast('note', { text: 'somebody came' });
  }

  @SseEndpoint('/typed', { topics: ({ query }) => [query['topic'] ?? []].flat() })
  typed(connection: SseConnection<Events>): void {
    connection.send('note', { text: 'hello' });
  }

  @SseEndpoint('/request')
  async request(connection: SseConnection, { params, state }: SseRequest): Promise<void> {
    connection.send('note', [params['id'], state['user']]);
    await connection.closed;
  }

  // The request is Koa's context.
  @SseEndpoint('/context')
  context(connection: SseConnection, ctx: EndpointRequest): void {
    connection.send('note', [ctx.get('X-Header'), ctx.params['id']]);
  }

  @SseEndpoint('/koa/:id', {
    connectionId: (ctx: Context) => ctx.get('X-Id'),
    topics: ctx => [ctx.get('X-Topic'), ctx.params['id'] ?? ''],
    guards: [PlainKoaGuard],
  })
  koaContext(connection: SseConnection<Events>, ctx: Context): void {
    connection.send('note', { text: ctx.get('X-Header') });
  }

  @SseEndpoint('/router/:id', { connectionId: 'id' })
  routerContext(_connection: SseConnection, ctx: RouterContext): void {
    ctx.set('X-Id', ctx.params['id'] ?? '');
  }

  @SseEndpoint('/source')
  async *source(_connection: SseConnection): AsyncIterable<{ data: number }> {
    yield { data: 1 };
  }

  // @ts-expect-error a handler gets a connection, not its id
  @SseEndpoint('/wrong')
  wrong(connection: string): string {
    return connection;
  }

  // @ts-expect-error a handler gets two arguments
  @SseEndpoint('/too-many')
  tooMany(connection: SseConnection, request: SseRequest, next: () => void): void {
    connection.send(request.path, next);
  }

  // @ts-expect-error an accessor is no method
  @SseEndpoint('/accessor')
  get accessor(): string {
    return 'text';
  }

  // @ts-expect-error a field is no method
  @SseEndpoint('/field')
  readonly field = 'text';

  // @ts-expect-error HEAD cannot be streamed
  @SseEndpoint('/head', { methods: ['HEAD'] })
  head(): void {
    // Never called.
  }

  // @ts-expect-error options are named
  @SseEndpoint('/unknown', { topic: 'news' })
  unknown(): void {
    // Never called.
  }

  // @ts-expect-error a guard decides
  @SseEndpoint('/no-guard', { guards: [Date] })
  noGuard(): void {
    // Never called.
  }

  // @ts-expect-error a connection id is known at once
  @SseEndpoint('/async-id', { connectionId: async () => 'id' })
  asyncId(): void {
    // Never called.
  }
}

@injectable()
export class SignedIn implements SseGuard {
  constructor(@inject('secret') private readonly secret: string) {}

  canConnect({ headers }: SseRequest): boolean | number {
    return headers.authorization === this.secret || 401;
  }
}

export class WithContext implements SseGuard {
  async canConnect(ctx: SseRequest & Context): Promise<boolean> {
    return ctx.get('Authorization') !== '' && ctx.params['id'] === 'me';
  }
}

export class Wrong implements SseGuard {
  // @ts-expect-error a guard answers with a verdict
  canConnect(): string {
    return 'yes';
  }
}

@SseController('/guarded', { guards: [SignedIn, WithContext] })
export class Guarded {
  @SseEndpoint('/', { guards: [WithContext] })
  open(): void {
    // Never called.
  }
}

export function application(container: Container): Koa {
  container.load(sseModule({ connection: { maxConnections: 5 }, redis: { enabled: false } }));
  // @ts-expect-error no such setting
  container.load(sseModule({ connection: { maxConnection: 5 } }));
  // @ts-expect-error a store is more than a Map
  container.load(sseModule({}, { connectionStore: new Map() }));

  const app = new Koa();
  app.use(sseMiddleware(container, { controllers: [TypedController, Guarded] }));
  app.use(async ctx => {
    const connection = await ctx.sse.connect('id', { topics: ['news'], onDuplicate: 'reject' });
    connection.send('note', { text: 'hello' });
    // @ts-expect-error topics are a list
    await ctx.sse.connect('id', { topics: 'news' });
    // @ts-expect-error belongs to the library
    ctx.sse = undefined;
  });
  return app;
}

export function lookup(container: Container): void {
  container.get(SseService).broadcast('anything', 1);
  const typed: SseService<Events> = container.get(SseService);
  // @ts-expect-error wrong data
  typed.broadcast('note', 1);
}
