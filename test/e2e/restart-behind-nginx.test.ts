import { expect } from 'chai';
import type { Page } from 'playwright-core';
import type * as client from '../../src/client/index.js';
import { describeInBrowser } from '../support/browser.js';
import { selfSigned } from '../support/certificate.js';
import { bundleClient } from '../support/client-page.js';
import { DemoProcess } from '../support/demo-process.js';
import { amount } from '../support/extent.js';
import { Nginx } from '../support/nginx.js';
import { freePort } from '../support/redis/free-port.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { until } from '../support/until.js';

const NODES = ['a', 'b', 'c'];
// A browser opens six connections to one host, and a page has five streams.
const HOSTS = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'];
const STREAMS_PER_PAGE = 5;
/** nginx asks a node again that long after a request to it failed. */
const FAIL_TIMEOUT_MS = 10_000;

/** What the streams of a page have seen: native EventSources, and those of the client. */
interface Streams {
  readonly entries: number[][];
  readonly open: boolean[];
  readonly resets: number;
}

describeInBrowser('streams of a browser behind nginx, while nodes are restarted', chromium => {
  let redis: RedisServer;
  let nginx: Nginx | undefined;
  let tlsPort: number;
  const ports: number[] = [];
  const nodes: DemoProcess[] = [];
  const pages: Page[] = [];
  let published = 0;
  let publishing = false;

  const startNode = async (n: number): Promise<void> => {
    nodes[n] = await DemoProcess.start({
      NODE_ID: NODES[n] ?? '',
      PORT: String(ports[n]),
      REDIS_URL: redis.url,
      SSE_RECONNECT_RETRY: '200',
      SSE_RECONNECT_JITTER: '300',
    });
  };

  before(async function () {
    this.timeout(60_000);
    if (!(await Nginx.isInstalled())) return this.skip();
    redis = await RedisServer.start();
    for (const [n] of NODES.entries()) ports[n] = await freePort();
    await Promise.all(NODES.map((_, n) => startNode(n)));
    tlsPort = await freePort();
    nginx = await Nginx.start(
      port => servers(port, tlsPort, ports),
      await selfSigned().then(({ key, cert }) => ({ key, cert })),
    );
    const context = await chromium.browser.newContext({ ignoreHTTPSErrors: true });
    const clientText = await bundleClient();
    const origins = [...HOSTS.map(host => `http://${host}:${nginx?.port ?? 0}`), `https://127.0.0.1:${tlsPort}`];
    for (const origin of origins) {
      const page = await context.newPage();
      // A page of the same origin.
      await page.goto(`${origin}/health/live`);
      await page.evaluate(openStreams, [`page-${pages.length}`, STREAMS_PER_PAGE, clientText] as const);
      pages.push(page);
    }
    await until(allOpen, 'every stream to be open', 20_000);
  });
  after(async () => {
    if (nginx === undefined) return;
    publishing = false;
    await pages[0]?.context().close();
    await nginx.stop();
    await Promise.all(nodes.map(node => node.stop('SIGKILL')));
    await redis.stop();
  });

  const seen = (): Promise<Streams[]> => Promise.all(pages.map(page => page.evaluate(readStreams)));
  const allOpen = async (): Promise<boolean> =>
    (await seen()).every(({ open }) => open.length === STREAMS_PER_PAGE && open.every(Boolean));

  /** Short requests beside the streams: by their answers nginx knows a node that is back. */
  const publish = async (): Promise<void> => {
    while (publishing) {
      const url = `http://127.0.0.1:${nginx?.port ?? 0}/sse/topics/news?event=entry`;
      const { status } = await fetch(url, { method: 'POST', body: String(published + 1) });
      // The node that ends certainly has not published then. 503: it has left the cluster, and its port is still open. 502: the kernel
      // established the connection between the last look of the node at new ones and the close of its port, and reset it. No process
      // can prevent that while nginx sends requests; see "Shutdown" in docs/deployment.md.
      expect(status).to.be.oneOf([202, 502, 503]);
      if (status === 202) published += 1;
      await new Promise(resolve => setTimeout(resolve, 40));
    }
  };

  it('come back, native ones and those of the client, over HTTP/1.1 and HTTP/2, and miss nothing', async () => {
    publishing = true;
    const publisher = publish();
    for (let restart = 0; restart < amount(1, NODES.length); restart += 1) {
      const n = restart % NODES.length;
      const before = published;
      expect(await nodes[n]?.stop('SIGTERM')).to.equal(0);
      await until(
        async () => (await seen()).every(({ entries }) => entries.every(list => (list.at(-1) ?? 0) > before)),
        'the streams to go on',
        30_000,
      );
      await startNode(n);
      await new Promise(resolve => setTimeout(resolve, amount(0, FAIL_TIMEOUT_MS * 1.2)));
    }
    publishing = false;
    await publisher;
    const complete = (list: number[]): boolean => list.at(-1) === published;
    await until(async () => (await seen()).every(({ entries }) => entries.every(complete)), 'the last entry', 30_000);
    const all = Array.from({ length: published }, (_, n) => n + 1);
    for (const { entries, open, resets } of await seen()) {
      for (const list of entries) expect(list).to.deep.equal(all);
      expect(open).to.deep.equal(entries.map(() => true));
      expect(resets).to.equal(0);
    }
    expect(published).to.be.greaterThan(20);
  }).timeout(180_000);
});

/** What a page's script keeps on its window. */
interface StreamsOfPage {
  streams: { readonly isOpen: () => boolean; readonly entries: number[] }[];
  resets: number;
}

/** Runs in the page. Each second stream is one of the client, whose text is given. */
async function openStreams([name, count, clientText]: readonly [string, number, string]): Promise<void> {
  const module = URL.createObjectURL(new Blob([clientText], { type: 'text/javascript' }));
  const { connect } = (await import(module)) as typeof client;
  const own = globalThis as unknown as StreamsOfPage;
  own.streams = [];
  own.resets = 0;
  for (let n = 0; n < count; n += 1) {
    const url = `/sse/connect/${name}-${n}?topics=news`;
    const entries: number[] = [];
    if (n % 2 === 0) {
      const source = new EventSource(url);
      source.addEventListener('entry', event => entries.push(Number(event instanceof MessageEvent && event.data)));
      source.addEventListener('sse.reset', () => (own.resets += 1));
      own.streams.push({ isOpen: () => source.readyState === 1, entries });
    } else {
      const stream = connect(url);
      stream.on('entry', data => entries.push(Number(data)));
      stream.onGap(() => (own.resets += 1));
      own.streams.push({ isOpen: () => stream.state.kind === 'open', entries });
    }
  }
}

/** Runs in the page. */
function readStreams(): Streams {
  const { streams, resets } = globalThis as unknown as StreamsOfPage;
  return {
    entries: streams.map(({ entries }) => entries),
    open: streams.map(({ isOpen }) => isOpen()),
    resets,
  };
}

/** As distributions configure it, with the nodes behind it, plain and over TLS with HTTP/2. */
function servers(port: number, tlsPort: number, nodes: readonly number[]): string {
  const location = `
    location = /ready { return 204; }
    location / {
      proxy_pass http://nodes;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }`;
  return `
  upstream nodes { ${nodes.map(node => `server 127.0.0.1:${node};`).join(' ')} }
  server {
    ${HOSTS.map(host => `listen ${host}:${port};`).join('\n    ')}
    ${location}
  }
  server {
    listen 127.0.0.1:${tlsPort} ssl http2;
    ssl_certificate cert;
    ssl_certificate_key key;
    ${location}
  }`;
}
