/** The same by hand under Koa: what Koa itself costs. */
import Koa from 'koa';
import { RawResponses } from './raw-responses.js';
import { serve } from './serve.js';

const responses = new RawResponses();
const app = new Koa();
app.use(ctx => {
  ctx.respond = false;
  responses.open(ctx.res);
});
const handle = app.callback();

serve({
  onRequest: (request, response) => void handle(request, response),
  broadcast: responses.broadcast,
  send: responses.send,
});
