/** This library on plain `node:http`. */
import 'reflect-metadata';
import { Container } from 'inversify';
import { sseModule, SseService } from '../../../src/index.js';
import { sinkFor } from '../../../src/koa/stream-request.js';
import { benchData } from './bench-event.js';
import { serve } from './serve.js';

const container = new Container();
container.load(sseModule());
const service = container.get(SseService);
await service.start();
let opened = 0;
let events = 0;
let sent = 0;

serve({
  onRequest: (request, response) => {
    opened += 1;
    void service.createConnection(`client-${opened}`, sinkFor(request, response));
  },
  broadcast: () => {
    events += 1;
    service.broadcast('tick', benchData(events));
  },
  send: () => {
    sent += 1;
    service.sendMessage(`client-${(sent % opened) + 1}`, 'tick', benchData(sent));
  },
});
