import type { Candidate } from './bench-server.js';
import { NodeServer } from './node-server.js';
import { peersInstalled } from './peer.js';

/** A candidate that is a Node program of `test/bench/servers`, of the same name by default. */
export function nodeCandidate(
  name: string,
  description: string,
  {
    program = name,
    needsPeers = false,
    environment = {},
  }: { program?: string; needsPeers?: boolean; environment?: Readonly<Record<string, string>> } = {},
): Candidate {
  return {
    name,
    description,
    absence: () => (!needsPeers || peersInstalled() ? undefined : 'npm ci in test/bench/peers failed'),
    start: connections =>
      NodeServer.start(program, { SSE_CONNECTION_MAX_CONNECTIONS: String(connections), ...environment }),
  };
}
