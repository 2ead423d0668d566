import { execFileSync } from 'node:child_process';
import { PEERS, peersInstalled } from './peer.js';

/** Installs what the library is compared with, unless it is there. */
export function installPeers(): void {
  if (peersInstalled()) return;
  try {
    execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: PEERS, stdio: 'ignore' });
  } catch {
    console.log('the peers could not be installed; those that need them take no part');
  }
}
