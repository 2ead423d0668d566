/** Plain `node:http`: what one writes by hand, `response.write` of a buffer that was encoded once. */
import type { ServerResponse } from 'node:http';
import { benchFrame } from './bench-event.js';
import { serve } from './serve.js';

const responses = new Set<ServerResponse>();
const inOrder: ServerResponse[] = [];
let events = 0;
let sent = 0;

serve({
  onRequest: (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.flushHeaders();
    responses.add(response);
    inOrder.push(response);
    response.on('close', () => responses.delete(response));
  },
  broadcast: () => {
    events += 1;
    const frame = benchFrame(events);
    for (const response of responses) response.write(frame);
  },
  send: () => {
    sent += 1;
    inOrder[sent % inOrder.length]?.write(benchFrame(sent));
  },
});
