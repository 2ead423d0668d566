import 'reflect-metadata';
import type { RequestListener } from 'node:http';
import { Container } from 'inversify';
import Koa from 'koa';
import { sseMiddleware, sseModule, SseService } from '../../../src/index.js';

/** This library under Koa, with the settings an application has that changes none but `connection.maxConnections`. */
export class LibraryUnderKoa {
  readonly service: SseService;
  readonly onRequest: RequestListener;
  #opened = 0;

  constructor() {
    const container = new Container();
    container.load(sseModule());
    this.service = container.get(SseService);
    const app = new Koa();
    app.use(sseMiddleware(container));
    app.use(async ctx => {
      this.#opened += 1;
      await ctx.sse.connect(`client-${this.#opened}`);
    });
    const handle = app.callback();
    this.onRequest = (request, response) => void handle(request, response);
  }

  /** How many clients have come: the last one is `client-<opened>`. */
  get opened(): number {
    return this.#opened;
  }
}
