/** Koa with a stream as body, the recipe found most often. */
import { PassThrough } from 'node:stream';
import Koa from 'koa';
import { benchFrame } from './bench-event.js';
import { serve } from './serve.js';

const streams = new Set<PassThrough>();
const inOrder: PassThrough[] = [];
let events = 0;
let sent = 0;
const app = new Koa();
// Koa reports the end of each stream as an error.
app.on('error', () => undefined);
app.use(ctx => {
  const stream = new PassThrough();
  ctx.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  ctx.body = stream;
  streams.add(stream);
  inOrder.push(stream);
  ctx.req.on('close', () => streams.delete(stream));
  stream.write(':\n\n');
});
const handle = app.callback();

serve({
  onRequest: (request, response) => void handle(request, response),
  broadcast: () => {
    events += 1;
    const frame = benchFrame(events);
    for (const stream of streams) stream.write(frame);
  },
  send: () => {
    sent += 1;
    inOrder[sent % inOrder.length]?.write(benchFrame(sent));
  },
});
