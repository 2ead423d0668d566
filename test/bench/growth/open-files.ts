import { execFileSync } from 'node:child_process';

// What a process has open besides its connections.
const OTHERS = 500;

/** How many connections a process of this machine can hold; Node raises its limit to the hard one by itself. */
export function mostConnections(): number {
  const limit = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim();
  return limit === 'unlimited' ? Infinity : Number(limit) - OTHERS;
}
