import { existsSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';

const CANDIDATES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/**
 * The browser of this machine, or `undefined` when there is none. `CHROMIUM_PATH` names another one.
 * @throws Error when `REQUIRE_BROWSER=1` and there is none
 */
export async function launchBrowser(): Promise<Browser | undefined> {
  const executablePath = process.env['CHROMIUM_PATH'] ?? CANDIDATES.find(path => existsSync(path));
  if (executablePath === undefined) {
    console.log('      no Chromium on this machine: apt-get install chromium');
    if (process.env['REQUIRE_BROWSER'] === '1') throw new Error('REQUIRE_BROWSER=1, none found');
    return undefined;
  }
  return chromium.launch({
    executablePath,
    // Playwright switches the back/forward cache off.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
    // The tests also run as root, in closed networks.
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
