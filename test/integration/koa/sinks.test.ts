import { once } from 'node:events';
import * as http from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { sinkFor } from '../../../src/koa/stream-request.js';
import { CountingListener } from '../../../src/testing/contracts/connection-sink.js';
import { RawClient } from '../../support/raw-client.js';
import { until } from '../../support/until.js';

const NAMES = ['drain', 'close', 'error', 'end', 'data', 'timeout'];

describe('a sink on a socket', () => {
  let server: http.Server;
  let client: RawClient;
  let request: http.IncomingMessage;
  let response: http.ServerResponse;

  beforeEach(async () => {
    server = http.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    client = await RawClient.request((server.address() as AddressInfo).port, '/');
    [request, response] = (await once(server, 'request')) as [http.IncomingMessage, http.ServerResponse];
  });
  afterEach(async () => {
    client.destroy();
    const closed = once(server, 'close');
    server.close();
    await closed;
  });

  const listeners = (socket: Socket): number[] => NAMES.map(name => socket.listenerCount(name));

  it('removes its listeners when it is detached', () => {
    const before = listeners(request.socket);
    const sink = sinkFor(request, response);
    sink.attach(new CountingListener());
    expect(listeners(request.socket)).to.not.deep.equal(before);
    sink.detach();
    expect(listeners(request.socket)).to.deep.equal(before);
  });

  it('reports nothing once it is detached', async () => {
    const calls = new CountingListener();
    const sink = sinkFor(request, response);
    sink.attach(calls);
    sink.detach();
    request.socket.emit('drain');
    const closed = once(request.socket, 'close');
    client.destroy();
    await closed;
    expect(calls).to.deep.equal(new CountingListener());
  });

  for (const keepAlive of [12_000, false] as const) {
    it(`has the operating system look for clients that vanished: connection.keepAlive ${String(keepAlive)}`, () => {
      const asked: unknown[][] = [];
      request.socket.setKeepAlive = (...args) => {
        asked.push(args);
        return request.socket;
      };
      const sink = sinkFor(request, response, { detach: 'auto', keepAlive });
      sink.attach(new CountingListener());
      sink.open();
      expect(asked).to.deep.equal(keepAlive === false ? [] : [[true, keepAlive]]);
    });
  }

  it('that is detached leaves the one after it alone', () => {
    const first = sinkFor(request, response);
    first.attach(new CountingListener());
    first.detach();
    const calls = new CountingListener();
    const second = sinkFor(request, response);
    second.attach(calls);
    first.detach();
    request.socket.emit('drain');
    expect(calls.drains).to.equal(1);
  });

  it('closes the socket at its end although the client keeps its side open', async () => {
    const { port } = server.address() as AddressInfo;
    const stubborn = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    stubborn.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const [incoming, outgoing] = (await once(server, 'request')) as [http.IncomingMessage, http.ServerResponse];
    const calls = new CountingListener();
    const sink = sinkFor(incoming, outgoing);
    sink.attach(calls);
    sink.open();
    sink.end();
    stubborn.resume();
    await until(() => calls.closes === 1, 'the end');
    stubborn.destroy();
  });

  it('leaves nothing on a socket that has closed', async () => {
    const { socket } = request;
    const all = (): unknown[] => ['drain', 'close'].flatMap(name => socket.listeners(name));
    const foreign = all();
    const calls = new CountingListener();
    const sink = sinkFor(request, response);
    sink.attach(calls);
    const ours = all().filter(listener => !foreign.includes(listener));
    expect(ours).to.have.length(2);
    sink.open();
    client.end();
    await until(() => calls.closes === 1, 'the end');
    expect(ours.some(listener => all().includes(listener))).to.equal(false);
    const kept = Object.getOwnPropertySymbols(socket).map((symbol): unknown => Reflect.get(socket, symbol));
    expect(kept).to.not.include(sink);
  });
});
