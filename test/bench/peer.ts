import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** The folder of what this library is compared with, a package of its own. */
export const PEERS = fileURLToPath(new URL('../../../test/bench/peers/', import.meta.url));

/** The file to import for a package of the comparison. */
export function peer(name: string): string {
  return createRequire(`${PEERS}package.json`).resolve(name);
}

/** Whether the packages of the comparison are installed. */
export function peersInstalled(): boolean {
  return existsSync(`${PEERS}node_modules`);
}
