/** Plain `node:http`: what one writes by hand to give clients what they missed, `response.write` of each buffer that is kept. */
import type { ServerResponse } from 'node:http';
import { benchFrame } from './bench-event.js';
import { KeptEvents } from './kept-events.js';
import { serve } from './serve.js';

const responses = new Set<ServerResponse>();
const kept = new KeptEvents<Buffer>();

serve({
  onRequest: (request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.flushHeaders();
    const lastEventId = request.headers['last-event-id']?.toString();
    for (const frame of kept.after(lastEventId)) response.write(frame);
    responses.add(response);
    response.on('close', () => responses.delete(response));
  },
  broadcast: () => {
    const frame = kept.add(id => Buffer.concat([Buffer.from(`id: ${id}\n`), benchFrame(id)]));
    for (const response of responses) response.write(frame);
  },
});
