import { spawnSync } from 'node:child_process';
import { availableParallelism, totalmem } from 'node:os';
import { REDIS_SERVER } from '../support/redis/redis-server.js';

/** What the figures depend on. */
export function machine(): string {
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  const redis = version(REDIS_SERVER, /v=([\d.]+)/);
  const nginx = version('nginx', /nginx\/([\d.]+)/);
  return [
    `${availableParallelism()} cores`,
    `${gigabytes} GB of memory`,
    `Node ${process.versions.node}`,
    ...(redis === undefined ? [] : [`Redis ${redis}`]),
    ...(nginx === undefined ? [] : [`nginx ${nginx}`]),
  ].join(', ');
}

function version(program: string, pattern: RegExp): string | undefined {
  const { stdout, stderr } = spawnSync(program, ['-v'], { encoding: 'utf8' });
  return pattern.exec(`${stdout}${stderr}`)?.[1];
}
