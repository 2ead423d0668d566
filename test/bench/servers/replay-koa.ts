/** This library under Koa: broadcasts that are kept in the ordered log of one process. */
import { benchData } from './bench-event.js';
import { LibraryUnderKoa } from './library-under-koa.js';
import { serve } from './serve.js';

const { service, onRequest } = new LibraryUnderKoa();
let events = 0;

serve({
  onRequest,
  broadcast: () => {
    events += 1;
    void service.broadcastToCluster('tick', benchData(events));
  },
});
