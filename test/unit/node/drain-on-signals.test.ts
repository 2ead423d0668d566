import { once } from 'node:events';
import { createServer, get, Agent, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import * as http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import sinon from 'sinon';
import { drainOnSignals } from '../../../src/node/drain.js';
import { turns } from '../../support/turns.js';
import { until } from '../../support/until.js';

describe('drainOnSignals', () => {
  let exit: sinon.SinonStub;
  let clock: sinon.SinonFakeTimers;
  let undo: () => void;
  let drains: { resolve: () => void; reject: (error: Error) => void }[];
  const service = {
    drain: () => new Promise<void>((resolve, reject) => drains.push({ resolve, reject })),
  };

  beforeEach(() => {
    drains = [];
    exit = sinon.stub(process, 'exit');
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });

  afterEach(() => {
    undo();
    sinon.restore();
    clock.restore();
  });

  it('drains at the first signal, then ends the rest, then exits with 0', async () => {
    const steps: string[] = [];
    undo = drainOnSignals(service, { afterwards: async () => steps.push('afterwards') });
    process.emit('SIGTERM');
    await turns();
    expect(drains).to.have.length(1);
    expect(steps).to.deep.equal([]);
    expect(exit.called).to.equal(false);
    drains[0]?.resolve();
    await turns();
    expect(steps).to.deep.equal(['afterwards']);
    expect(exit.args).to.deep.equal([[0]]);
  });

  it('exits with 1 at once at a second signal, of whatever kind', async () => {
    undo = drainOnSignals(service, { signals: ['SIGTERM', 'SIGUSR2'] });
    process.emit('SIGTERM');
    process.emit('SIGUSR2');
    expect(exit.args).to.deep.equal([[1]]);
    expect(drains).to.have.length(1);
  });

  it('reports why it failed, and exits with 1', async () => {
    const reported: unknown[] = [];
    undo = drainOnSignals(service, { onError: error => reported.push(error) });
    process.emit('SIGTERM');
    const error = new Error('stuck');
    drains[0]?.reject(error);
    await turns();
    expect(reported).to.deep.equal([error]);
    expect(exit.firstCall.args).to.deep.equal([1]);
  });

  it('waits five seconds for the rest, no longer', async () => {
    undo = drainOnSignals(service, { afterwards: () => new Promise(() => undefined) });
    process.emit('SIGTERM');
    drains[0]?.resolve();
    await turns();
    await clock.tickAsync(4_999);
    expect(exit.called).to.equal(false);
    await clock.tickAsync(1);
    await turns();
    expect(exit.args).to.deep.equal([[0]]);
  });

  it('undone, handles no signal', () => {
    const before = process.listenerCount('SIGUSR2');
    undo = drainOnSignals(service, { signals: ['SIGUSR2'] });
    expect(process.listenerCount('SIGUSR2')).to.equal(before + 1);
    undo();
    expect(process.listenerCount('SIGUSR2')).to.equal(before);
  });
});

describe('drainOnSignals with a server', () => {
  const service = { drain: async () => undefined };
  const answers: ServerResponse[] = [];
  let exit: sinon.SinonStub;
  let undo: () => void;

  beforeEach(() => {
    answers.length = 0;
    exit = sinon.stub(process, 'exit');
  });
  afterEach(() => {
    undo();
    sinon.restore();
  });

  const listening = async (server: Server | http2.Http2Server): Promise<number> => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };

  it('exits when the requests under way are answered, however long their connections stay open', async () => {
    const server = createServer((_request, response) => answers.push(response));
    const port = await listening(server);
    const steps: string[] = [];
    undo = drainOnSignals(service, { server: () => server, afterwards: () => steps.push('afterwards') });
    const agent = new Agent({ keepAlive: true });
    const answered = once(get({ port, agent }), 'response') as Promise<[IncomingMessage]>;
    await until(() => answers.length === 1, 'the request');
    process.emit('SIGTERM');
    await until(() => !server.listening, 'the end of the listener');
    await turns();
    expect(exit.called).to.equal(false);
    answers[0]?.end('done');
    const [response] = await answered;
    expect(response.statusCode).to.equal(200);
    response.resume();
    await until(() => exit.called, 'the exit');
    expect(steps).to.deep.equal(['afterwards']);
    expect(exit.args).to.deep.equal([[0]]);
    agent.destroy();
  });

  it('answers the requests whose connections the kernel has established when the port closes', async () => {
    const server = createServer((_request, response) => response.end('done'));
    const port = await listening(server);
    undo = drainOnSignals(service, { server });
    const requests = Array.from({ length: 10 }, () => get({ port, host: '127.0.0.1' }));
    const answered = Promise.all(requests.map(request => once(request, 'response') as Promise<[IncomingMessage]>));
    // On the loopback a connection is established before this process can accept it.
    await new Promise<void>(resolve => process.nextTick(resolve));
    process.emit('SIGTERM');
    for (const [response] of await answered) {
      expect(response.statusCode).to.equal(200);
      response.resume();
    }
    await until(() => exit.called, 'the exit');
    expect(server.listening).to.equal(false);
  });

  it('ends a connection with its answer from the begin of the drain', async () => {
    const server = createServer((_request, response) => response.end('done'));
    const port = await listening(server);
    let drained: () => void = () => undefined;
    undo = drainOnSignals({ drain: () => new Promise(resolve => (drained = resolve)) }, { server });
    const agent = new Agent({ keepAlive: true });
    const connectionOf = async (): Promise<string | undefined> => {
      const [response] = (await once(get({ port, agent }), 'response')) as [IncomingMessage];
      response.resume();
      return response.headers.connection;
    };
    expect(await connectionOf()).to.equal('keep-alive');
    process.emit('SIGTERM');
    expect(await connectionOf()).to.equal('close');
    drained();
    await until(() => exit.called, 'the exit');
    agent.destroy();
  });

  it('closes the sessions of HTTP/2, which end with their requests', async () => {
    const server = http2.createServer();
    const port = await listening(server);
    undo = drainOnSignals(service, { server });
    const session = http2.connect(`http://127.0.0.1:${port}`);
    const [received] = (await once(session, 'connect').then(async () => {
      const request = session.request();
      const [stream] = (await once(server, 'stream')) as [http2.ServerHttp2Stream];
      return [{ request, stream }];
    })) as [{ request: http2.ClientHttp2Stream; stream: http2.ServerHttp2Stream }];
    process.emit('SIGTERM');
    await once(session, 'goaway');
    expect(exit.called).to.equal(false);
    received.stream.respond({ ':status': 200 }, { endStream: true });
    received.request.resume();
    await until(() => exit.called, 'the exit');
    expect(exit.args).to.deep.equal([[0]]);
  });

  it('waits for requests no longer than requestsTimeout, and for no server that does not listen', async () => {
    const server = createServer((_request, response) => answers.push(response));
    const port = await listening(server);
    undo = drainOnSignals(service, { server, requestsTimeout: 20 });
    const request = get({ port });
    request.on('error', () => undefined);
    await until(() => answers.length === 1, 'the request');
    process.emit('SIGTERM');
    await until(() => exit.called, 'the exit');
    request.destroy();
    undo();
    exit.resetHistory();
    undo = drainOnSignals(service, { server: createServer() });
    process.emit('SIGTERM');
    await until(() => exit.called, 'the exit');
    expect(exit.args).to.deep.equal([[0]]);
  });

  it('refuses what is no service at once, not at the signal', () => {
    undo = () => undefined;
    for (const wrong of [createServer(), undefined] as unknown as (typeof service)[]) {
      expect(() => drainOnSignals(wrong)).to.throw(/drainOnSignals\(container\.get\(SseService\)\)/);
    }
  });

  it('refuses options that it does not have, or not with such a value', () => {
    undo = () => undefined;
    for (const options of [{ servers: 1 }, { server: 'x' }, { signals: ['SIGNOPE'] }, { requestsTimeout: Infinity }]) {
      expect(() => drainOnSignals(service, options as object)).to.throw(/drainOnSignals/);
    }
  });
});
