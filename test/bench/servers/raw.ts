/** Plain `node:http`, with what one writes by hand. */
import { RawResponses } from './raw-responses.js';
import { serve } from './serve.js';

const responses = new RawResponses();

serve({
  onRequest: (_request, response) => responses.open(response),
  broadcast: responses.broadcast,
  send: responses.send,
});
