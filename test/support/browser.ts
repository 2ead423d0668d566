import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { chromium, type Browser, type BrowserContext } from 'playwright-core';
import { retry, withTimeout } from '../../src/time.js';

const CANDIDATES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const ARGUMENTS = [
  '--headless=new',
  '--remote-debugging-port=0',
  // The tests also run as root, in closed networks.
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-extensions',
  '--disable-sync',
  // A test that needs a page in the background makes one; the others must not wait for slow timers.
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
];

// A browser that starts on a busy machine does not answer now and then; the next one does.
const STARTS = 3;
const LONGEST_START_MS = 30_000;

/** The browser of all suites of this process. */
let started: Promise<Chromium> | undefined;

after(async () => (await started?.catch(() => undefined))?.stop());

/** Filled before the tests of the suite run. */
export interface StartedBrowser {
  /** A context of its own separates the tests. All of its pages count as visible and focused. */
  readonly browser: Browser;
  /** The context whose pages are as in a window of a person: the tab in front is visible, the others are hidden. */
  readonly window: BrowserContext;
}

/**
 * A `describe` whose tests have the Chromium of this machine; `CHROMIUM_PATH` names another one. The suites of a process share it.
 * Without one the tests are skipped, visibly, or fail when `REQUIRE_BROWSER=1`.
 */
export function describeInBrowser(title: string, suite: (chromium: StartedBrowser) => void): void {
  const path = process.env['CHROMIUM_PATH'] ?? CANDIDATES.find(candidate => existsSync(candidate));
  if (path === undefined && process.env['REQUIRE_BROWSER'] !== '1') {
    // Not in a hook: the other hooks of the suite would run, without a browser.
    describe.skip(`${title} (no Chromium on this machine: apt-get install chromium)`, () => suite(new Running()));
    return;
  }
  describe(title, () => {
    const running = new Running();
    before(async function () {
      this.timeout(2 * STARTS * LONGEST_START_MS);
      if (path === undefined) throw new Error('no Chromium on this machine: apt-get install chromium');
      running.chromium = await (started ??= retry(() => Chromium.start(path), { tries: STARTS, pauseMs: 100 }));
    });
    suite(running);
  });
}

class Running implements StartedBrowser {
  chromium: Chromium | undefined;

  get browser(): Browser {
    return this.#get().browser;
  }

  get window(): BrowserContext {
    return this.#get().window;
  }

  #get(): Chromium {
    if (this.chromium === undefined) throw new Error('the browser runs from before on');
    return this.chromium;
  }
}

class Chromium {
  private constructor(
    readonly browser: Browser,
    readonly window: BrowserContext,
    private readonly program: ChildProcess,
    private readonly profile: string,
  ) {}

  static async start(path: string): Promise<Chromium> {
    const profile = await mkdtemp(join(tmpdir(), 'sse-chromium-'));
    const program = spawn(path, [...ARGUMENTS, `--user-data-dir=${profile}`], { stdio: ['ignore', 'ignore', 'pipe'] });
    try {
      // A browser that Playwright starts itself has no window in which a tab could be hidden.
      const options = { noDefaults: true, timeout: LONGEST_START_MS };
      const endpoint = await withTimeout(endpointOf(program), LONGEST_START_MS, () => {
        throw new Error('the browser does not say where it can be reached');
      });
      const browser = await chromium.connectOverCDP(endpoint, options);
      const [window] = browser.contexts();
      if (window === undefined) throw new Error('the browser has no window');
      return new Chromium(browser, window, program, profile);
    } catch (error) {
      // A browser that hangs obeys no other signal.
      await end(program, profile, 'SIGKILL');
      throw error;
    }
  }

  stop(): Promise<void> {
    return end(this.program, this.profile, 'SIGTERM');
  }
}

/** Where a browser that starts can be reached. */
function endpointOf(program: ChildProcessByStdio<null, null, Readable>): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    program.stderr.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const [, url] = /DevTools listening on (\S+)/.exec(text) ?? [];
      if (url !== undefined) resolve(url);
    });
    program.once('exit', () => reject(new Error(`the browser has ended: ${text}`)));
  });
}

async function end(program: ChildProcess, profile: string, signal: NodeJS.Signals): Promise<void> {
  if (program.exitCode === null && program.signalCode === null) {
    const ended = once(program, 'exit');
    program.kill(signal);
    await ended;
  }
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
}
