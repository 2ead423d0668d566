import type { Candidate } from './bench-server.js';
import { FloorServer } from './floor-server.js';
import { NchanServer } from './nchan-server.js';
import { NodeServer } from './node-server.js';
import { peersInstalled } from './peer.js';

/** Everyone that takes part. The first is what the others are divided by. */
export const CANDIDATES: readonly Candidate[] = [
  program('raw', 'node:http, `response.write` of a buffer encoded once'),
  program('koa-passthrough', 'Koa, `ctx.body = new PassThrough()`'),
  {
    ...program('better-sse', 'better-sse on node:http, one channel'),
    absence: () => (peersInstalled() ? undefined : 'npm ci in test/bench/peers failed'),
  },
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
  program('koa', 'this library under Koa'),
  program('plain-http', 'this library on node:http'),
];

function program(name: string, description: string): Candidate {
  return {
    name,
    description,
    absence: () => undefined,
    start: connections =>
      NodeServer.start(name, { SSE_CONNECTION_MAX_CONNECTIONS: String(connections) }),
  };
}
