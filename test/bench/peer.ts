import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** The folder of what this library is compared with, a package of its own. */
export const PEERS = fileURLToPath(new URL('../../../test/bench/peers/', import.meta.url));

/** The file to import for a package of the comparison. */
export function peer(name: string): string {
  return createRequire(`${PEERS}package.json`).resolve(name);
}

/** Whether every package of the comparison is installed. */
export function peersInstalled(): boolean {
  // The file is this project's own.
  const { dependencies } = JSON.parse(readFileSync(`${PEERS}package.json`, 'utf8')) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  return Object.keys(dependencies).every(name => existsSync(`${PEERS}node_modules/${name}`));
}
