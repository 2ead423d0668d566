/**
 * An endpoint of this library behind a guard that answers with a user. The environment says which limits hold; a fiftieth of
 * the connections belongs to each user.
 */
import 'reflect-metadata';
import { Container, injectable } from 'inversify';
import Koa from 'koa';
import {
  type Admission,
  type SseConnection,
  SseController,
  SseEndpoint,
  type SseGuard,
  sseMiddleware,
  sseModule,
} from '../../../src/index.js';
import { serve } from './serve.js';

const USERS = 50;
let asked = 0;
let opened = 0;

@injectable()
class SessionGuard implements SseGuard {
  canConnect(): Admission {
    asked += 1;
    return { user: `user-${asked % USERS}` };
  }
}

@injectable()
@SseController('', { guards: [SessionGuard] })
class StreamController {
  @SseEndpoint('/', { connectionId: () => `client-${(opened += 1)}` })
  connect(_connection: SseConnection): void {
    // Broadcasts alone reach the stream.
  }
}

const container = new Container();
container.load(sseModule());
container.bind(SessionGuard).toSelf().inSingletonScope();
container.bind(StreamController).toSelf().inSingletonScope();
const app = new Koa();
app.use(sseMiddleware(container, { controllers: [StreamController] }));
const handle = app.callback();

serve({ onRequest: (request, response) => void handle(request, response), broadcast: () => undefined });
