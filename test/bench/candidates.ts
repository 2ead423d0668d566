import type { Candidate } from './bench-server.js';
import { FloorServer } from './floor-server.js';
import { NchanServer } from './nchan-server.js';
import { nodeCandidate } from './node-candidate.js';

/** Everyone that takes part. The first is what the others are divided by. */
export const CANDIDATES: readonly Candidate[] = [
  nodeCandidate('raw', 'node:http, `response.write` of a buffer encoded once'),
  nodeCandidate('koa-response', 'Koa, `ctx.respond = false` and the same'),
  nodeCandidate('koa-passthrough', 'Koa, `ctx.body = new PassThrough()`'),
  nodeCandidate('better-sse', 'better-sse on node:http, one channel', { needsPeers: true }),
  {
    name: 'nchan',
    description: 'nginx with nchan, one worker',
    absence: () => NchanServer.absence(),
    start: connections => NchanServer.start(connections),
  },
  {
    name: 'floor',
    description: 'the floor: C, one `write(2)` per connection and event',
    absence: () => FloorServer.absence(),
    start: () => FloorServer.start(),
  },
  nodeCandidate('koa', 'this library under Koa'),
  nodeCandidate('koa-attached', 'this library under Koa, `connection.detach: false`', {
    program: 'koa',
    environment: { SSE_CONNECTION_DETACH: 'false' },
  }),
  nodeCandidate('plain-http', 'this library on node:http'),
];
