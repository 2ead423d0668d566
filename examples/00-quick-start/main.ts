import 'reflect-metadata';
import { Container, inject, injectable } from 'inversify';
import Koa from 'koa';
import { SseEndpoint, sseMiddleware, sseModule, SseService, type SseConnection } from '../../src/index.js';

@injectable()
class NewsController {
  constructor(@inject(SseService) private readonly sse: SseService) {}

  @SseEndpoint('/sse/:clientId', { topics: ['news'] })
  connect(connection: SseConnection): void {
    connection.send('welcome', { node: this.sse.nodeId });
  }
}

const container = new Container();
container.load(sseModule());
container.bind(NewsController).toSelf().inSingletonScope();

const page = `<!doctype html><pre></pre><script>
  const source = new EventSource('/sse/' + crypto.randomUUID());
  source.addEventListener('tick', event => (document.querySelector('pre').textContent = event.data));
</script>`;
const app = new Koa();
app.use(sseMiddleware(container, { controllers: [NewsController] }));
app.use(ctx => void Object.assign(ctx, { type: 'html', body: page }));
app.listen(process.env['PORT'] ?? 3000);
setInterval(() => void container.get(SseService).publish('news', 'tick', { at: Date.now() }), 1000);
