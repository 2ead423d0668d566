import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

/** What a node id may be: it becomes part of keys and of log lines. */
export const NODE_ID = /^[A-Za-z0-9_.-]{1,80}$/;

// Leaves room for a process id of any platform and the random part.
const MAX_HOST_CHARACTERS = 60;

/**
 * A node id that no other process has: host name, process id, six random hex characters. The random
 * part tells apart containers, which often share a host name and have process id 1. Always matches
 * {@link NODE_ID}.
 */
export function defaultNodeId(host = hostname(), pid = process.pid): string {
  const name = host.replace(/[^A-Za-z0-9_.-]/g, '-').slice(0, MAX_HOST_CHARACTERS);
  return `${name === '' ? 'node' : name}-${pid}-${randomBytes(3).toString('hex')}`;
}
