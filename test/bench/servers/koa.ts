/** This library under Koa. */
import { benchData } from './bench-event.js';
import { LibraryUnderKoa } from './library-under-koa.js';
import { serve } from './serve.js';

const library = new LibraryUnderKoa();
const { service, onRequest } = library;
let events = 0;
let sent = 0;

serve({
  onRequest,
  broadcast: () => {
    events += 1;
    service.broadcast('tick', benchData(events));
  },
  send: () => {
    sent += 1;
    service.sendMessage(`client-${(sent % library.opened) + 1}`, 'tick', benchData(sent));
  },
});
