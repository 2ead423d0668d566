import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/** A node that requests may go to. */
export interface Upstream {
  readonly id: string;
  readonly port: number;
  readonly running: boolean;
}

/** What the page of the tour may ask the balancer to do. @returns undefined for something that it cannot do */
export type Control = (path: readonly string[]) => Promise<object> | undefined;

/**
 * What stands in front of the nodes, as nginx would: each request goes to the next node that runs, or to the one that the query
 * names (`?node=b`) while that one runs. The console comes from the first node that runs: all streams of its page are viewers of
 * one node. Below `/tour/cluster` it does what a single node cannot do for the tour.
 */
export function createBalancer(upstreams: readonly Upstream[], control: Control): Server {
  let turn = 0;
  /** The node of the query, else the next one. */
  const pick = (url: URL, tried: ReadonlySet<Upstream>): Upstream | undefined => {
    const running = upstreams.filter(upstream => upstream.running && !tried.has(upstream));
    const wanted = running.find(({ id }) => id === url.searchParams.get('node'));
    if (wanted !== undefined) return wanted;
    if (url.pathname.startsWith('/console')) return running[0];
    turn += 1;
    return running[turn % Math.max(1, running.length)];
  };
  return createServer((req, res) => {
    const url = new URL(req.url ?? '/', 'http://balancer');
    const [, tour, cluster, ...path] = url.pathname.split('/');
    if (tour === 'tour' && cluster === 'cluster') void answerControl(req, res, path, control);
    else forward(req, res, tried => pick(url, tried));
  });
}

async function answerControl(
  req: IncomingMessage,
  res: ServerResponse,
  path: readonly string[],
  control: Control,
): Promise<void> {
  // A page of another origin cannot send this header without a preflight, which is answered with 403.
  const allowed = req.method === 'GET' ? path.length === 0 : req.method === 'POST' && req.headers['x-tour'] === '1';
  const done = allowed ? control(path) : undefined;
  req.resume();
  try {
    if (done === undefined) answer(res, 403, { error: { code: 'REFUSED', message: 'the balancer does not do this' } });
    else answer(res, 200, await done);
  } catch (error) {
    answer(res, 500, { error: { code: 'FAILED', message: error instanceof Error ? error.message : String(error) } });
  }
}

function forward(
  req: IncomingMessage,
  res: ServerResponse,
  pick: (tried: ReadonlySet<Upstream>) => Upstream | undefined,
  tried: Set<Upstream> = new Set(),
): void {
  const upstream = pick(tried);
  if (upstream === undefined) {
    answer(res, 502, { error: { code: 'NO_NODE', message: 'no node runs' } });
    return;
  }
  tried.add(upstream);
  const { method, headers, url } = req;
  // No agent: a stream must not share its socket, and a killed node must not leave one behind.
  const out = request(
    { host: '127.0.0.1', port: upstream.port, method, path: url, headers, agent: false },
    response => {
      res.writeHead(response.statusCode ?? 502, response.headers);
      // The head of a stream must not wait for its first event.
      res.flushHeaders();
      response.pipe(res);
      response.once('error', () => res.destroy());
    },
  );
  out.once('error', () => {
    if (res.headersSent || res.destroyed) res.destroy();
    else if (method === 'GET') forward(req, res, pick, tried);
    else answer(res, 502, { error: { code: 'NODE_GONE', message: `node ${upstream.id} does not answer` } });
  });
  res.once('close', () => out.destroy());
  req.pipe(out);
}

function answer(res: ServerResponse, status: number, body: object): void {
  if (res.headersSent || res.destroyed) return;
  res.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(JSON.stringify(body));
}
