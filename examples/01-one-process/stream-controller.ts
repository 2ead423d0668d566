import { injectable } from 'inversify';
import { SseEndpoint } from '../../src/index.js';

/** The demo's streams. The library writes the first event, `connected`; nothing else is needed. */
@injectable()
export class StreamController {
  @SseEndpoint('/sse/connect{/:clientId}', {
    methods: ['GET'],
    connectionId: ({ params }) => params['clientId'] ?? '',
    topics: ({ query }) => [query['topics'] ?? []].flat().join(',').split(',').filter(Boolean),
  })
  connect(): void {
    // Only held open: events come from POST requests.
  }
}
