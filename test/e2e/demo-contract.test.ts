import { connect } from 'node:net';
import { expect } from 'chai';
import { ChildProgram } from '../support/child-program.js';
import { DemoProcess } from '../support/demo-process.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { StreamReader } from '../support/stream-reader.js';
import { until } from '../support/until.js';

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

const TEXT = { 'Content-Type': 'text/plain' };
const JSON_TYPE = { 'Content-Type': 'application/json' };

describe('the demo', () => {
  let demo: DemoProcess;
  const readers: StreamReader[] = [];

  before(async () => {
    demo = await DemoProcess.start({ NODE_ID: 'node-1', SSE_CONNECTION_MAX_CONNECTIONS: '20' });
  });
  afterEach(async () => {
    for (const reader of readers.splice(0)) reader.close();
    await until(async () => (await connections()).local === 0, 'all connections to be gone');
  });
  after(async () => {
    await demo.stop();
  });

  const open = async (path: string, init?: RequestInit): Promise<StreamReader> => {
    const reader = await StreamReader.open(demo.url + path, init);
    readers.push(reader);
    return reader;
  };
  const request = async (method: string, path: string, init: RequestInit = {}): Promise<Answer> => {
    const response = await fetch(demo.url + path, { method, ...init });
    const text = await response.text();
    const json = response.headers.get('Content-Type')?.includes('json') ?? false;
    return {
      status: response.status,
      headers: response.headers,
      body: json ? (JSON.parse(text) as unknown) : text,
    };
  };
  const post = (path: string, body: string | Uint8Array<ArrayBuffer> | null, headers: Record<string, string> = TEXT) =>
    request('POST', path, { body, headers });
  const connections = async () =>
    (await request('GET', '/sse/connections')).body as {
      local: number;
      cluster: number;
      nodes: Record<string, number>;
    };
  const codeOf = ({ body }: Answer): unknown => (body as { error?: { code?: unknown } }).error?.code;

  it('begins a stream with the event connected', async () => {
    const reader = await open('/sse/connect/c1');
    const { data, id } = await reader.event('connected');
    expect(JSON.parse(data)).to.deep.equal({ connectionId: 'c1', nodeId: 'node-1' });
    expect(id).to.match(/^[0-9a-z]+\.[0-9a-z]+-[0-9a-z]+$/);
    expect(reader.events[0]?.event).to.equal('connected');
    const { headers } = reader.response;
    expect(headers.get('Content-Type')).to.equal('text/event-stream');
    expect(headers.get('Cache-Control')).to.equal('no-store, no-transform');
    expect(headers.get('X-Accel-Buffering')).to.equal('no');
  });

  it('sends text as it is and answers with the receipt', async () => {
    const reader = await open('/sse/connect/c1');
    const { status, body } = await post('/sse/send/c1?event=notice', ' läuft\r\n\uFEFFzwei\rdrei');
    expect(status).to.equal(200);
    expect(body).to.include({ outcome: 'delivered', connectionId: 'c1', nodeId: 'node-1' });
    expect((await reader.event('notice')).data).to.equal(' läuft\n\uFEFFzwei\ndrei');
  });

  it('keeps a byte order mark at the start of a text', async () => {
    const reader = await open('/sse/connect/c1');
    await post('/sse/send/c1', '\uFEFFx');
    expect((await reader.event('message')).data).to.equal('\uFEFFx');
  });

  it('sends JSON as JSON text of the same value', async () => {
    const reader = await open('/sse/connect/c1');
    for (const [name, json] of [
      ['string', '"x"'],
      ['big', '12345678901234567890'],
      ['pretty', '{\n  "a": [1, 2]\n}'],
    ] as const) {
      expect((await post(`/sse/send/c1?event=${name}`, json, JSON_TYPE)).status).to.equal(200);
      expect((await reader.event(name)).data).to.equal(json);
    }
  });

  it('takes an empty body without a content type as empty text', async () => {
    const reader = await open('/sse/connect/c1');
    expect((await post('/sse/send/c1?event=', null, {})).status).to.equal(200);
    expect((await reader.event('message')).data).to.equal('');
  });

  it('broadcasts to every connection', async () => {
    const [first, second] = [await open('/sse/connect/c1'), await open('/sse/connect/c2')];
    const { status, body } = await post('/sse/broadcast?event=all', 'hello');
    expect(status).to.equal(202);
    expect(body).to.deep.equal({ local: 2, nodes: 1 });
    expect((await first.event('all')).data).to.equal('hello');
    expect((await second.event('all')).data).to.equal('hello');
  });

  it('publishes to the subscribers of a topic only', async () => {
    const follower = await open('/sse/connect/c1?topics=a,b');
    const other = await open('/sse/connect/c2?topics=c');
    const { status, body } = await post('/sse/topics/a?event=news', 'x');
    expect(status).to.equal(202);
    const { id } = body as { id: string };
    expect((await follower.event('news')).id).to.equal(id);
    await post('/sse/broadcast?event=after', '');
    await other.event('after');
    expect(other.events.map(({ event }) => event)).to.deep.equal(['connected', 'after']);
  });

  it('counts connections by node and finds one', async () => {
    await (await open('/sse/connect/c1')).event('connected');
    expect(await connections()).to.deep.equal({ local: 1, cluster: 1, nodes: { 'node-1': 1 } });
    const { body } = await request('GET', '/sse/connections/c1');
    expect(body).to.deep.equal({ connected: true, nodeId: 'node-1' });
  });

  it('closes a connection with sse.closed as its last event', async () => {
    const reader = await open('/sse/connect/c1');
    await reader.event('connected');
    expect((await request('DELETE', '/sse/connections/c1')).status).to.equal(204);
    await reader.end();
    expect(reader.events.at(-1)).to.include({ event: 'sse.closed', data: '{"reason":"closed"}' });
  });

  it('lets a newer connection take over an id', async () => {
    const loser = await open('/sse/connect/c1');
    await loser.event('connected');
    const winner = await open('/sse/connect/c1');
    await loser.end();
    expect(loser.events.at(-1)).to.include({
      event: 'sse.closed',
      data: '{"reason":"superseded"}',
    });
    await post('/sse/send/c1', 'for the winner');
    expect((await winner.event('message')).data).to.equal('for the winner');
  });

  it('answers 204 after five clients with a last id took an id over within 30 s, and leaves the owner alone', async () => {
    let owner = await open('/sse/connect/stolen');
    const { id = '' } = await owner.event('connected');
    const headers = { 'Last-Event-ID': id };
    for (let takeover = 0; takeover < 5; takeover += 1) {
      owner = await open('/sse/connect/stolen', { headers });
      await owner.event('connected');
    }
    const { status, body } = await request('GET', '/sse/connect/stolen', { headers });
    expect(status).to.equal(204);
    expect(body).to.equal('');
    await post('/sse/send/stolen', 'still here');
    expect((await owner.event('message')).data).to.equal('still here');
  });

  it('resumes from Last-Event-ID, as a header and as a query parameter', async () => {
    const first = await open('/sse/connect/c1?topics=a');
    const { id = '' } = await first.event('connected');
    first.close();
    await post('/sse/topics/a?event=missed', '1');
    await post('/sse/broadcast?event=missed', '2');
    for (const [path, headers] of [
      ['/sse/connect/c1?topics=a', { 'Last-Event-ID': id }],
      [`/sse/connect/c2?topics=a&lastEventId=${id}`, {}],
    ] as const) {
      const reader = await open(path, { headers });
      await until(() => reader.events.length >= 3, 'the missed events');
      expect(reader.events.map(({ event, data }) => [event, data]).slice(1)).to.deep.equal([
        ['missed', '1'],
        ['missed', '2'],
      ]);
    }
  });

  it('sends sse.reset to a client whose id is of another epoch', async () => {
    const reader = await open('/sse/connect/c1?lastEventId=other.abc-1');
    const { data, id } = await reader.event('sse.reset');
    const { reason, resumedFrom } = JSON.parse(data) as Record<string, unknown>;
    expect(reason).to.equal('EPOCH');
    expect(id).to.equal(resumedFrom);
  });

  it('is live and ready', async () => {
    expect((await request('GET', '/health/live')).status).to.equal(200);
    expect((await request('GET', '/health/ready')).status).to.equal(200);
  });

  it('refuses connections beyond the limit, each with its own reconnection time', async () => {
    for (let index = 0; index < 20; index += 1) await open(`/sse/connect/full-${index}`);
    const refused = await Promise.all(
      Array.from({ length: 8 }, (_, index) => request('GET', `/sse/connect/extra-${index}`)),
    );
    expect(refused.map(({ status }) => status)).to.deep.equal(Array(8).fill(503));
    expect(new Set(refused.map(codeOf))).to.deep.equal(new Set(['CONNECTION_LIMIT']));
    const waits = refused.map(({ headers }) => headers.get('Retry-After') ?? '');
    for (const wait of waits) expect(wait).to.match(/^[1-9]\d*$/);
    expect(new Set(waits).size).to.be.greaterThan(1);
    const takeover = await open('/sse/connect/full-0');
    expect(takeover.response.status).to.equal(200);
    expect((await connections()).local).to.equal(20);
  });

  describe('bad input', () => {
    const big = 'x'.repeat(1_048_577);
    const long = 'x'.repeat(257);
    const rows: readonly [title: string, run: () => Promise<Answer>, status: number, code: string][] = [
      ['unknown connection', () => post('/sse/send/nobody', 'x'), 404, 'not-connected'],
      ['unknown connection to close', () => request('DELETE', '/sse/connections/nobody'), 404, 'not-connected'],
      ['unknown connection to look at', () => request('GET', '/sse/connections/nobody'), 404, 'not-connected'],
      ['unknown path', () => request('GET', '/nowhere'), 404, 'NOT_FOUND'],
      ['line break in an event name', () => post('/sse/send/c1?event=a%0Ab', 'x'), 422, 'INVALID_EVENT_NAME'],
      ['NUL in an event name', () => post('/sse/broadcast?event=a%00b', 'x'), 422, 'INVALID_EVENT_NAME'],
      ['event name of the library', () => post('/sse/broadcast?event=connected', 'x'), 422, 'INVALID_EVENT_NAME'],
      [
        'event name with the library prefix',
        () => post('/sse/topics/a?event=sse.reset', 'x'),
        422,
        'INVALID_EVENT_NAME',
      ],
      ['long event name', () => post(`/sse/send/c1?event=${long}`, 'x'), 422, 'INVALID_EVENT_NAME'],
      ['reserved topic', () => post('/sse/topics/@c1', 'x'), 422, 'INVALID_TOPIC'],
      ['everyone as a topic', () => post('/sse/topics/*', 'x'), 422, 'INVALID_TOPIC'],
      ['control character in a topic', () => post('/sse/topics/a%07', 'x'), 422, 'INVALID_TOPIC'],
      ['bad topic to follow', () => request('GET', '/sse/connect/c1?topics=@x'), 422, 'INVALID_TOPIC'],
      ['oversized text', () => post('/sse/send/c1', big), 413, 'EVENT_TOO_LARGE'],
      ['oversized JSON', () => post('/sse/broadcast', `"${big}"`, JSON_TYPE), 413, 'EVENT_TOO_LARGE'],
      ['malformed JSON', () => post('/sse/send/c1', '{"a":', JSON_TYPE), 400, 'INVALID_JSON'],
      ['empty JSON', () => post('/sse/send/c1', '', JSON_TYPE), 400, 'INVALID_JSON'],
      ['text that is not UTF-8', () => post('/sse/send/c1', new Uint8Array([0xc3, 0x28])), 400, 'INVALID_BODY'],
      [
        'other content type',
        () => post('/sse/send/c1', 'a=b', { 'Content-Type': 'application/x-www-form-urlencoded' }),
        415,
        'UNSUPPORTED_MEDIA_TYPE',
      ],
      [
        'other charset',
        () => post('/sse/send/c1', 'a', { 'Content-Type': 'text/plain; charset=latin1' }),
        415,
        'UNSUPPORTED_MEDIA_TYPE',
      ],
      ['wrong method on a stream', () => post('/sse/connect/c1', 'x'), 405, 'METHOD_NOT_ALLOWED'],
      ['wrong method on a send', () => request('GET', '/sse/send/c1'), 405, 'METHOD_NOT_ALLOWED'],
      [
        'Accept that excludes streams',
        () => request('GET', '/sse/connect/c1', { headers: { Accept: 'application/json' } }),
        406,
        'NOT_ACCEPTABLE',
      ],
      [
        'Accept with quality 0',
        () => request('GET', '/sse/connect/c1', { headers: { Accept: 'text/event-stream;q=0' } }),
        406,
        'NOT_ACCEPTABLE',
      ],
      [
        'header injection by id',
        () => request('GET', '/sse/connect/a%0d%0aSet-Cookie:%20x=1'),
        400,
        'INVALID_CONNECTION_ID',
      ],
      ['empty id', () => request('GET', '/sse/connect/'), 400, 'INVALID_CONNECTION_ID'],
      ['long id', () => request('GET', `/sse/connect/${long}`), 400, 'INVALID_CONNECTION_ID'],
      ['long id in bytes', () => request('GET', `/sse/connect/${'ü'.repeat(129)}`), 400, 'INVALID_CONNECTION_ID'],
      ['long id to send to', () => post(`/sse/send/${long}`, 'x'), 400, 'INVALID_CONNECTION_ID'],
      ['broken percent-encoding in a path', () => request('GET', '/sse/connect/%zz'), 400, 'INVALID_REQUEST'],
      ['broken percent-encoding in a query', () => post('/sse/broadcast?event=%ff', 'x'), 400, 'INVALID_REQUEST'],
    ];
    for (const [title, run, status, code] of rows) {
      it(`${title}: ${status} ${code}, and other clients are not affected`, async () => {
        const witness = await open('/sse/connect/witness');
        const answer = await run();
        expect(answer.status).to.equal(status);
        expect(codeOf(answer)).to.equal(code);
        expect(answer.headers.get('Set-Cookie')).to.equal(null);
        await post('/sse/send/witness?event=fine', '');
        await witness.event('fine');
        expect(witness.events.map(({ event }) => event)).to.deep.equal(['connected', 'fine']);
      });
    }

    it('405 names the methods that are allowed', async () => {
      expect((await post('/sse/connect/c1', 'x')).headers.get('Allow')).to.equal('GET, HEAD');
    });

    for (const [title, id] of [
      ['long', 'a'.repeat(8000)],
      ['foreign', '42'],
      ['not text', '\u00ff\u0080\u0001x'],
      ['proto', '__proto__.1-1'],
      ['huge numbers', 'abc.zzzzzzzzzzz-zzzzzzzzzzz'],
    ] as const) {
      it(`a hostile Last-Event-ID (${title}) opens a stream without a resume`, async () => {
        const socket = connect(Number(demo.port), '127.0.0.1');
        let text = '';
        socket.on('data', chunk => (text += chunk.toString()));
        socket.write(Buffer.from(`GET /sse/connect/c1 HTTP/1.1\r\nHost: x\r\nLast-Event-ID: ${id}\r\n\r\n`, 'latin1'));
        await until(() => text.includes('\r\n\r\n'), 'an answer');
        if (title === 'not text') {
          // A control character is refused by Node's own parser.
          expect(text).to.match(/^HTTP\/1.1 400 /);
        } else {
          await until(() => text.includes('event: connected'), 'the first event');
          expect(text).to.not.include('sse.reset');
        }
        socket.destroy();
      });
    }
  });
});

describe('the demo at its end', () => {
  it('drains on SIGTERM: refuses newcomers, sends each client a reconnection time, exits 0', async () => {
    const demo = await DemoProcess.start();
    const readers = await Promise.all(
      Array.from({ length: 12 }, (_, index) => StreamReader.open(`${demo.url}/sse/connect/c${index}`)),
    );
    await Promise.all(readers.map(reader => reader.event('connected')));
    const began = Date.now();
    expect(await demo.stop()).to.equal(0);
    expect(Date.now() - began).to.be.lessThan(10_000);
    await Promise.all(readers.map(reader => reader.end()));
    for (const { events } of readers) {
      expect(events.at(-1)).to.include({ event: 'sse.closed', data: '{"reason":"draining"}' });
    }
    expect(new Set(readers.map(({ retry }) => retry)).size).to.be.greaterThan(6);
  });

  it('closes at once instead when the graceful shutdown is off', async () => {
    const demo = await DemoProcess.start({ SSE_RELIABILITY_GRACEFUL_SHUTDOWN: 'false' });
    const reader = await StreamReader.open(`${demo.url}/sse/connect/c1`);
    await reader.event('connected');
    expect(await demo.stop()).to.equal(0);
    await reader.end();
    expect(reader.events.at(-1)).to.include({ event: 'sse.closed', data: '{"reason":"shutdown"}' });
  });

  it('refuses new streams with Retry-After while it drains, and a second signal ends it at once', async () => {
    // A client that does not read keeps the drain waiting.
    const demo = await DemoProcess.start({ SSE_HISTORY_ENABLED: 'false' });
    const stuck = connect(Number(demo.port), '127.0.0.1');
    stuck.pause();
    stuck.write('GET /sse/connect/stuck HTTP/1.1\r\nHost: x\r\n\r\n');
    await until(async () => (await fetch(`${demo.url}/sse/connections/stuck`)).status === 200, 'the stuck client');
    const body = 'x'.repeat(1_000_000);
    await until(async () => {
      const response = await fetch(`${demo.url}/sse/send/stuck`, { method: 'POST', body });
      return ((await response.json()) as { outcome?: string }).outcome === 'buffered';
    }, 'a full socket');
    demo.program.process.kill('SIGTERM');
    await until(async () => (await fetch(`${demo.url}/health/ready`)).status === 503, 'the drain');
    expect((await fetch(`${demo.url}/health/live`)).status).to.equal(200);
    const refused = await fetch(`${demo.url}/sse/connect/late`);
    expect(refused.status).to.equal(503);
    expect(refused.headers.get('Retry-After')).to.match(/^[1-9]\d*$/);
    expect(await demo.stop()).to.equal(1);
    stuck.destroy();
  });

  it('exits with 0 on SIGTERM while it starts, and while Redis does not answer', async () => {
    const redis = await RedisServer.start();
    const env = {
      PORT: '0',
      REDIS_URL: redis.url,
      SSE_RELIABILITY_GRACEFUL_SHUTDOWN_TIMEOUT: '2000',
    };
    try {
      const running = await DemoProcess.start(env);
      const reader = await StreamReader.open(`${running.url}/sse/connect/c1`);
      await reader.event('connected');
      redis.freeze();
      const starting = ChildProgram.start('test/support/observed-demo.js', env);
      // It has loaded everything and waits for Redis.
      await until(async () => (await starting.ask({ ask: 'signals' })) === 1, 'the signal to be served');
      const began = performance.now();
      const ends = [starting, running].map(async child => ({
        code: await child.stop('SIGTERM'),
        ms: performance.now() - began,
      }));
      for (const { code, ms } of await Promise.all(ends)) {
        expect(code).to.equal(0);
        // The timeout, and room for a busy machine; a node that waits for Redis would never end.
        expect(ms).to.be.lessThan(2_000 + 4_000);
      }
      await reader.end();
      expect(reader.events.at(-1)).to.include({
        event: 'sse.closed',
        data: '{"reason":"draining"}',
      });
    } finally {
      redis.thaw();
      await redis.stop();
    }
  });

  it('refuses to start with an unknown SSE_ variable and names the nearest', async () => {
    const started = DemoProcess.start({ SSE_CONNECTION_MAX_CONECTIONS: '5' });
    const message = await started.then(
      () => '',
      (error: unknown) => String(error),
    );
    expect(message).to.include('SSE_CONNECTION_MAX_CONNECTIONS');
  });
});
