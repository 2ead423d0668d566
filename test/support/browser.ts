import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser, type BrowserContext } from 'playwright-core';

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
  describe(title, () => {
    const running = new Running();
    before(async function () {
      this.timeout(60_000);
      if (path === undefined) withoutBrowser(this);
      running.chromium = await (started ??= Chromium.start(path));
    });
    suite(running);
  });
}

function withoutBrowser(context: Mocha.Context): never {
  const why = 'no Chromium on this machine: apt-get install chromium';
  if (process.env['REQUIRE_BROWSER'] === '1') throw new Error(why);
  console.warn(`      skipped: ${why}`);
  return context.skip();
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
    const endpoint = await new Promise<string>((resolve, reject) => {
      let text = '';
      program.stderr.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        const [, url] = /DevTools listening on (\S+)/.exec(text) ?? [];
        if (url !== undefined) resolve(url);
      });
      program.once('exit', () => reject(new Error(`${path} has ended: ${text}`)));
    });
    // A browser that Playwright starts itself has no window in which a tab could be hidden.
    const browser = await chromium.connectOverCDP(endpoint, { noDefaults: true });
    const [window] = browser.contexts();
    if (window === undefined) throw new Error('the browser has no window');
    return new Chromium(browser, window, program, profile);
  }

  async stop(): Promise<void> {
    const ended = once(this.program, 'exit');
    this.program.kill();
    await ended;
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
