import { once } from 'node:events';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { Container } from 'inversify';
import Koa from 'koa';
import { sseModule, type SseOverrides } from '../../src/container.js';
import { SseService } from '../../src/contracts/service.js';
import { ConnectionStore } from '../../src/contracts/store.js';
import { sseMiddleware, type SseMiddlewareOptions } from '../../src/koa/middleware.js';
import type { ControllerClass } from '../../src/koa/routes.js';
import type { SseOptions } from '../../src/options/sse-options.js';
import { selfSigned } from './certificate.js';
import { RecordingLogger } from './recording-logger.js';

/** How the application's server speaks: `h2` is HTTP/2 over TLS that takes HTTP/1.1 as well, `h2c` is without TLS. */
export type Protocol = 'http' | 'https' | 'h2' | 'h2c';

/** An application under test. */
export interface KoaAppSettings {
  readonly options?: SseOptions;
  readonly overrides?: SseOverrides;
  readonly controllers?: readonly ControllerClass[];
  /** How paths are matched. */
  readonly matching?: Omit<SseMiddlewareOptions, 'controllers'>;
  readonly protocol?: Protocol;
  /** Binds what controllers and guards need. */
  readonly bind?: (container: Container) => void;
  /** Middleware in front of the library's. */
  readonly before?: readonly Koa.Middleware[];
  /** Properties of every context, of packages that extend an application. */
  readonly context?: object;
  /** Middleware that is made from the container, behind the library's: the console. */
  readonly mounted?: (container: Container) => Koa.Middleware;
  /** Middleware behind all of it, plain routes. */
  readonly after?: readonly Koa.Middleware[];
}

/** A Koa application with the library's middleware, listening on a free port. */
export class KoaApp {
  readonly container = new Container();
  readonly logger = new RecordingLogger();
  /** The errors of the application that Koa reported. */
  readonly errors: unknown[] = [];
  /** Sockets of the server that are open. */
  readonly sockets = new Set<Socket>();
  readonly app = new Koa();
  readonly service: SseService;
  readonly store: ConnectionStore;
  #server: http.Server | http2.Http2Server | undefined;

  private constructor(private readonly settings: KoaAppSettings) {
    const { controllers = [], before = [], after = [], matching, bind, mounted, options, overrides } = settings;
    this.container.load(sseModule(options, { logger: this.logger, ...overrides }));
    if (settings.context !== undefined) {
      Object.defineProperties(this.app.context, Object.getOwnPropertyDescriptors(settings.context));
    }
    for (const controller of controllers) this.container.bind(controller).toSelf();
    bind?.(this.container);
    this.app.on('error', error => this.errors.push(error));
    const library = sseMiddleware(this.container, { controllers, ...matching });
    const behind = mounted === undefined ? after : [mounted(this.container), ...after];
    for (const middleware of [...before, library, ...behind]) this.app.use(middleware);
    this.service = this.container.get(SseService);
    this.store = this.container.get(ConnectionStore);
    // Tests look at the lines that requests cause.
    this.logger.lines.length = 0;
  }

  static async start(settings: KoaAppSettings = {}): Promise<KoaApp> {
    const app = new KoaApp(settings);
    await app.#listen();
    return app;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    const { protocol = 'http' } = this.settings;
    const secure = protocol === 'https' || protocol === 'h2';
    return `${secure ? 'https' : 'http'}://127.0.0.1:${this.port}`;
  }

  get server(): http.Server | http2.Http2Server {
    if (this.#server === undefined) throw new Error('the application does not listen');
    return this.#server;
  }

  /** Closes the service, the listener and every socket. */
  async close(): Promise<void> {
    await this.service.close();
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  async #listen(): Promise<void> {
    const server = await createServer(this.settings.protocol ?? 'http', this.app);
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
    this.#server = server;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
}

async function createServer(protocol: Protocol, app: Koa): Promise<http.Server | http2.Http2Server> {
  // Koa's answer is a promise that the caller does not await.
  const handle = app.callback();
  const onRequest = (
    request: http.IncomingMessage | http2.Http2ServerRequest,
    response: http.ServerResponse | http2.Http2ServerResponse,
  ): void => {
    // Koa's types know HTTP/1 only; it serves both.
    void handle(request, response);
  };
  switch (protocol) {
    case 'http':
      return http.createServer(onRequest);
    case 'h2c':
      return http2.createServer(onRequest);
    case 'https':
      return https.createServer(await selfSigned(), onRequest);
    case 'h2':
      return http2.createSecureServer({ ...(await selfSigned()), allowHTTP1: true }, onRequest);
  }
}
