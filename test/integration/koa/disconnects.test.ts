import * as http2 from 'node:http2';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { LocalCoordinator } from '../../../src/cluster/memory/coordinator.js';
import type { SseGuard } from '../../../src/contracts/authorization.js';
import type { ClusterCoordinator } from '../../../src/contracts/cluster.js';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { KoaApp, type Protocol } from '../../support/koa-app.js';
import { RawClient } from '../../support/raw-client.js';
import { until } from '../../support/until.js';

/** Holds everybody up until it is opened. */
class Gate {
  waiting = 0;
  #open: () => void = () => undefined;
  readonly #opened = new Promise<void>(resolve => {
    this.#open = resolve;
  });

  async pass(): Promise<void> {
    this.waiting += 1;
    await this.#opened;
  }

  open(): void {
    this.#open();
  }
}

let gate: Gate;

class SlowGuard implements SseGuard {
  async canConnect(): Promise<boolean> {
    await gate.pass();
    return true;
  }
}

class StreamController {
  @SseEndpoint('/sse/:clientId', { topics: ['news'] })
  stream(): void {
    // Only held open.
  }

  @SseEndpoint('/guarded/:clientId', { guards: [SlowGuard], topics: ['news'] })
  guarded(): void {
    // Only held open.
  }
}

function slowCoordinator(): ClusterCoordinator {
  const inner = new LocalCoordinator('n', { takeoverLimit: 5, takeoverWindow: 30_000 });
  return alteredCoordinator(inner, {
    routes: {
      register: async registration => {
        if (registration.connectionId === 'slow') await gate.pass();
        return inner.routes.register(registration);
      },
    },
    log: {
      // Delays a client that has read a first page, and so has its head.
      replay: async request => {
        if (request.after !== undefined && request.after.sequence > 1) await gate.pass();
        return inner.log.replay(request);
      },
    },
  });
}

let app: KoaApp;

const start = async (protocol: Protocol): Promise<void> => {
  gate = new Gate();
  app = await KoaApp.start({
    protocol,
    controllers: [StreamController],
    overrides: { clusterCoordinator: slowCoordinator() },
    bind: container => container.bind(SlowGuard).toSelf(),
    after: [
      async ctx => {
        if (ctx.path === '/no-stream') await gate.pass();
        else await ctx.sse.connect('plain');
      },
    ],
  });
};
const nothingIsLeft = async (): Promise<void> => {
  await until(() => app.store.size + app.store.opening === 0, 'the connection to go');
  await until(async () => (await app.service.getClusterConnectionCount()) === 0, 'the route');
  expect([...app.store.topics()]).to.deep.equal([]);
  expect(app.errors).to.deep.equal([]);
  expect(app.logger.lines).to.deep.equal([]);
};

describe('a client that leaves abruptly', () => {
  beforeEach(() => start('http'));
  afterEach(async () => {
    gate.open();
    await app.close();
  });

  const socketIsClosed = (): Promise<void> => until(() => app.sockets.size === 0, 'the socket to close');

  const ends: Readonly<Record<string, (client: RawClient) => void>> = {
    FIN: client => {
      client.end();
    },
    RST: client => {
      client.reset();
    },
  };
  for (const [name, leave] of Object.entries(ends)) {
    for (const path of ['/sse/a', '/plain']) {
      it(`by ${name} on ${path} is no error and leaves nothing behind`, async () => {
        const client = await RawClient.request(app.port, path);
        await client.receives('event: connected');
        leave(client);
        await socketIsClosed();
        await nothingIsLeft();
      });
    }

    it(`by ${name} while events are written is no error`, async () => {
      const client = await RawClient.request(app.port, '/sse/a');
      await client.receives('event: connected');
      leave(client);
      while (app.service.hasLocal('a')) {
        app.service.sendMessage('a', 'note', 'x'.repeat(1000));
        await turn();
      }
      await socketIsClosed();
      await nothingIsLeft();
    });

    it(`by ${name} during a guard registers nothing`, async () => {
      const client = await RawClient.request(app.port, '/guarded/a');
      await until(() => gate.waiting === 1, 'the guard');
      leave(client);
      await socketIsClosed();
      gate.open();
      await turn();
      await nothingIsLeft();
    });

    it(`by ${name} during the registration releases the route`, async () => {
      const client = await RawClient.request(app.port, '/sse/slow');
      await until(() => gate.waiting === 1, 'the registration');
      expect(app.store.opening).to.equal(1);
      leave(client);
      await socketIsClosed();
      gate.open();
      await turn();
      await nothingIsLeft();
    });
  }

  it('during the replay is no error and leaves nothing behind', async () => {
    const { id = '' } = await app.service.publish('news', 'note', 0);
    for (let number = 1; number <= 250; number += 1) {
      await app.service.publish('news', 'note', number);
    }
    const client = await RawClient.request(app.port, '/sse/a', [`Last-Event-ID: ${id}`]);
    await until(() => gate.waiting === 1, 'the second page');
    await client.receives('event: connected');
    client.reset();
    await socketIsClosed();
    gate.open();
    await turn();
    await nothingIsLeft();
  });

  it('without a stream is reported as Koa reports it', async () => {
    const client = await RawClient.request(app.port, '/no-stream');
    await until(() => gate.waiting === 1, 'the request');
    client.reset();
    await until(() => app.errors.length > 0, 'the error');
    expect(app.errors[0]).to.include({ code: 'ECONNRESET' });
  });
});

describe('an HTTP/2 client that leaves abruptly', () => {
  let session: http2.ClientHttp2Session;

  beforeEach(async () => {
    await start('h2c');
    session = http2.connect(app.url);
    session.on('error', () => undefined);
  });
  afterEach(async () => {
    gate.open();
    session.destroy();
    await app.close();
  });

  const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR } = http2.constants;
  const ends: Readonly<Record<string, (stream: http2.ClientHttp2Stream) => void>> = {
    CANCEL: stream => {
      stream.close(NGHTTP2_CANCEL);
    },
    INTERNAL_ERROR: stream => {
      stream.close(NGHTTP2_INTERNAL_ERROR);
    },
    'the end of its session': () => {
      session.destroy();
    },
  };
  for (const [name, leave] of Object.entries(ends)) {
    const request = (path: string): http2.ClientHttp2Stream => {
      const stream = session.request({ ':path': path });
      stream.on('error', () => undefined);
      stream.resume();
      return stream;
    };

    it(`by ${name} is no error and leaves nothing behind`, async () => {
      const stream = request('/sse/a');
      await until(() => app.store.size === 1, 'the connection');
      leave(stream);
      await nothingIsLeft();
    });

    it(`by ${name} during a guard registers nothing`, async () => {
      const stream = request('/guarded/a');
      await until(() => gate.waiting === 1, 'the guard');
      leave(stream);
      await until(() => stream.destroyed, 'the end of the stream');
      // Another round trip, so that the server knows it as well.
      if (!session.destroyed) await new Promise(resolve => session.ping(resolve));
      else await until(() => app.sockets.size === 0, 'the socket to close');
      gate.open();
      await turn();
      await nothingIsLeft();
    });
  }
});
