import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type Koa from 'koa';
import type { BrowserContext, Page } from 'playwright-core';
import type * as client from '../../src/client/index.js';

const FOLDER = new URL('../../src/client/', import.meta.url);
const PAGE = `<!doctype html><title>client</title>
<script type="module">import * as sse from '/client.js'; Object.assign(window, { sse, got: [], gaps: [], states: [] });</script>`;

/** What the page of a test has in its global scope. */
interface PageScope {
  readonly sse: typeof client;
  readonly got: unknown[];
  readonly gaps: unknown[];
  readonly states: { readonly kind: string; readonly reason?: string }[];
  stream: client.SseStream;
}

/** Options that can be sent to a page. */
type PageOptions = Pick<client.ConnectOptions, 'delay' | 'method' | 'pauseHidden' | 'resume' | 'share' | 'silence'> & {
  readonly body?: string;
  readonly headers?: client.RequestHeaders;
};

/** A component whose stream is the one of its `url`, in strict mode; `window.show(url)` renders it. */
const COMPONENT = `
  import { createElement, StrictMode, useState } from 'react';
  import { createRoot } from 'react-dom/client';
  import { useSse } from './dist/src/react/index.js';
  function Notes({ url }) {
    const [notes, setNotes] = useState([]);
    const { state } = useSse(url, { note: note => setNotes(before => [...before, note]) });
    return createElement('p', { 'data-state': state.kind }, notes.join(' '));
  }
  const root = createRoot(document.body.appendChild(document.createElement('div')));
  window.show = url => root.render(createElement(StrictMode, null, createElement(Notes, { url })));
`;

async function bundledComponent(): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: COMPONENT, resolveDir: fileURLToPath(new URL('../../../', import.meta.url)) },
    bundle: true,
    format: 'esm',
    define: { 'process.env.NODE_ENV': '"development"' },
    write: false,
  });
  return outputFiles[0]?.text ?? '';
}

let bundledClient: Promise<string> | undefined;

/** The client in one file, since a page loads each module of its own by a request. */
export async function bundleClient(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('index.js', FOLDER))],
    bundle: true,
    format: 'esm',
    write: false,
  });
  return outputFiles[0]?.text ?? '';
}

/** Serves a component at `/react.js`, the client at `/client.js` and pages without content below `/page`. */
export const clientPages: Koa.Middleware = async (ctx, next) => {
  if (ctx.path === '/client.js') {
    ctx.type = 'js';
    ctx.body = await (bundledClient ??= bundleClient());
  } else if (ctx.path === '/react.js') {
    ctx.type = 'js';
    ctx.body = await bundledComponent();
  } else if (ctx.path.startsWith('/page')) {
    ctx.type = 'html';
    ctx.body = PAGE;
  } else await next();
};

/** A page with a stream; what it receives under the name `note` is kept in the page. */
export class ClientPage {
  private constructor(readonly page: Page) {}

  static async open(context: BrowserContext, origin: string, path = '/page'): Promise<ClientPage> {
    const page = await context.newPage();
    await page.goto(origin + path);
    await page.waitForFunction('window.states');
    return new ClientPage(page);
  }

  async connect(url: string, options: PageOptions = {}): Promise<void> {
    await this.page.evaluate(
      ([target, settings]) => {
        // The script of the page has set these.
        const scope = globalThis as unknown as PageScope;
        scope.stream = scope.sse.connect(target, settings);
        scope.stream.on('note', data => scope.got.push(data));
        scope.stream.onGap(gap => scope.gaps.push(gap));
        scope.stream.onState(state => scope.states.push(state));
      },
      [url, options] as const,
    );
  }

  /** Resolves when the stream is in this state. */
  async state(kind: string, reason?: string): Promise<void> {
    const of = `(state => state.kind === '${kind}' && ${reason === undefined} || state.reason === '${reason ?? ''}')`;
    await this.page.waitForFunction(`${of}(window.stream.state)`);
  }

  /** Resolves when the page has received so many notes. */
  async received(count: number): Promise<void> {
    await this.page.waitForFunction(`window.got.length >= ${count}`);
  }

  got(): Promise<unknown[]> {
    return this.page.evaluate(() => (globalThis as unknown as PageScope).got);
  }

  gaps(): Promise<unknown[]> {
    return this.page.evaluate(() => (globalThis as unknown as PageScope).gaps);
  }

  states(): Promise<PageScope['states']> {
    return this.page.evaluate(() => (globalThis as unknown as PageScope).states);
  }

  async run(code: string): Promise<void> {
    await this.page.evaluate(code);
  }
}
