import type { Candidate } from '../bench-server.js';
import { nodeCandidate } from '../node-candidate.js';

/** Everyone that gives a client what it missed. The first is what the others are divided by. */
export const REPLAY_CANDIDATES: readonly Candidate[] = [
  nodeCandidate('raw', 'node:http, `response.write` of each of an array of buffers', {
    program: 'replay-raw',
  }),
  nodeCandidate('better-sse', 'better-sse on node:http, `session.batch` of an array of events', {
    program: 'replay-better-sse',
    needsPeers: true,
  }),
  nodeCandidate('koa', 'this library under Koa', { program: 'replay-koa' }),
];
