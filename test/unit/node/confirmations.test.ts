import { expect } from 'chai';
import sinon from 'sinon';
import { confirm } from '../../../src/client/index.js';
import type { Receipt } from '../../../src/contracts/events.js';
import type { ClusterSendOptions } from '../../../src/contracts/service.js';
import { createTestCluster, type TestClient, type TestCluster } from '../../../src/testing/index.js';
import { codeOf } from '../../support/code-of.js';

const SECOND = 1_000;

describe('Confirmations', () => {
  let clock: sinon.SinonFakeTimers;
  let cluster: TestCluster;
  let client: TestClient;
  const errors: unknown[] = [];

  /** Node a has the client, and the reports of the client go to all nodes in turn. */
  const start = async (enabled = true, clientOptions: object = { confirm }): Promise<void> => {
    const options = { confirmation: { enabled }, mailbox: { enabled: true }, send: { deadline: 5 * SECOND } };
    cluster = await createTestCluster({ nodes: 3, options });
    errors.length = 0;
    const onError = (error: unknown): void => void errors.push(error);
    client = await cluster.connect('me', { node: 'a', client: { ...clientOptions, onError } });
  };
  const send = (from: string, options: ClusterSendOptions = {}): Promise<Receipt> =>
    cluster.node(from).sse.sendMessageToConnection('me', 'note', 1, { ack: 'client', ...options });
  /** The outcome, and after how much of the virtual time it was known. */
  const outcomeOf = async (sent: Promise<Receipt>): Promise<string> => {
    const before = Date.now();
    const state = { over: false };
    void sent.finally(() => (state.over = true)).catch(() => undefined);
    while (!state.over) await clock.tickAsync(100);
    return `${(await sent).outcome} within ${Math.ceil((Date.now() - before) / SECOND)} s`;
  };

  beforeEach(() => {
    clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
  });
  afterEach(async () => {
    const closing = cluster.close();
    await clock.tickAsync(SECOND);
    await closing;
    clock.restore();
  });

  it('answer confirmed to a sender of any node, once the listeners have returned', async () => {
    await start();
    for (const node of ['a', 'b', 'c', 'b']) {
      const sent = send(node);
      expect(await outcomeOf(sent)).to.equal('confirmed within 1 s');
      expect(await sent).to.include({ nodeId: 'a', connectionId: 'me' });
    }
    expect(client.events.filter(({ event }) => event === 'note')).to.have.length(4);
  });

  it('wait for the promise of a listener', async () => {
    await start();
    client.stream.on('note', () => new Promise(resolve => setTimeout(resolve, 3.5 * SECOND)));
    expect(await outcomeOf(send('b'))).to.equal('confirmed within 4 s');
  });

  it('answer delivered at once when a listener failed, and at the deadline when it does not end', async () => {
    await start();
    const off = client.stream.on('note', () => Promise.reject(new Error('later')));
    expect(await outcomeOf(send('b'))).to.equal('delivered within 1 s');
    off();
    expect(errors.map(String)).to.deep.equal(['Error: later']);
    client.stream.once('note', () => {
      throw new Error('now');
    });
    expect(await outcomeOf(send('a'))).to.equal('delivered within 1 s');
    client.stream.once('note', () => new Promise(() => undefined));
    expect(await outcomeOf(send('c', { deadline: 2 * SECOND }))).to.equal('delivered within 2 s');
  });

  it('answer delivered at once for a client that does not confirm, whose stream has no token', async () => {
    await start(true, {});
    expect(await outcomeOf(send('b'))).to.equal('delivered within 1 s');
    expect(await outcomeOf(send('a'))).to.equal('delivered within 1 s');
    expect(client.events[0]?.data).to.have.keys(['connectionId', 'nodeId']);
  });

  it('answer not-connected without a wait', async () => {
    await start();
    client.close();
    await clock.tickAsync(SECOND);
    expect(await outcomeOf(send('b'))).to.equal('not-connected within 1 s');
  });

  it('come for a durable send as well, which is stored while its client is away', async () => {
    await start();
    expect(await outcomeOf(send('b', { durable: true }))).to.equal('confirmed within 1 s');
    client.close();
    await clock.tickAsync(SECOND);
    expect(await outcomeOf(send('c', { durable: true }))).to.match(/^stored within [12] s$/);
  });

  it('are known when the same message id is sent again', async () => {
    await start();
    await outcomeOf(send('b', { messageId: 'once' }));
    expect(await outcomeOf(send('c', { messageId: 'once' }))).to.equal('confirmed within 1 s');
    expect(client.events.filter(({ event }) => event === 'note')).to.have.length(1);
  });

  it('join the reports of a burst, and keep to the rate', async () => {
    await start();
    const sent = Array.from({ length: 500 }, () => send('b'));
    const outcomes = await Promise.all(sent.map(outcomeOf));
    expect(new Set(outcomes.map(outcome => outcome.split(' ')[0]))).to.deep.equal(new Set(['confirmed']));
  });

  it('end a client that has vanished as stale, and no client that reports', async () => {
    await start();
    const nodes = cluster.nodes.map(({ sse }) => sinon.stub(sse, 'confirm').resolves({ outcome: 'delivered' }));
    await outcomeOf(send('b', { deadline: SECOND }));
    await clock.tickAsync(20 * SECOND);
    for (const node of nodes) node.restore();
    // Any report is a sign of life.
    await outcomeOf(send('b'));
    await clock.tickAsync(60 * SECOND);
    expect(client.events.some(({ event }) => event === 'sse.closed')).to.equal(false);
    for (const { sse } of cluster.nodes) sinon.stub(sse, 'confirm').resolves({ outcome: 'delivered' });
    await outcomeOf(send('b', { deadline: SECOND }));
    await clock.tickAsync(40 * SECOND);
    expect(client.events.find(({ event }) => event === 'sse.closed')?.data).to.deep.equal({ reason: 'stale' });
  });

  it('are refused for a wrong token, too often, and in another form', async () => {
    await start();
    const { sse } = cluster.node('b');
    // The event has it where the client asked for it.
    const { confirm: token = '' } = client.events[0]?.data as { confirm?: string };
    expect(token).to.match(/^[\w-]{22}$/);
    const report = { connectionId: 'me', token, handled: [], failed: [] };
    expect(await sse.confirm({ ...report, token: `${token.slice(0, -1)}_` })).to.include({ code: 'FORBIDDEN' });
    expect(await sse.confirm({ ...report, token: 'x' })).to.include({ code: 'FORBIDDEN' });
    expect(await sse.confirm({ ...report, connectionId: 'you' })).to.deep.equal({ outcome: 'not-connected' });
    const answers = await Promise.all(Array.from({ length: 21 }, () => sse.confirm(report)));
    expect(answers.filter(({ outcome }) => outcome === 'delivered')).to.have.length(20);
    expect(answers.at(-1)).to.deep.equal({ outcome: 'rejected', code: 'RATE_LIMITED' });
    const hostile = [
      undefined,
      null,
      'text',
      [],
      {},
      { ...report, connectionId: 1 },
      { ...report, token: 'x'.repeat(65) },
      { ...report, token: 7 },
      { ...report, token: '' },
      { ...report, token: 'a b' },
      { ...report, handled: 'm' },
      { ...report, handled: { length: 1 } },
      { ...report, failed: [''] },
      { ...report, failed: [{}] },
      { ...report, handled: Array(60).fill('m'), failed: Array(41).fill('m') },
      { ...report, handled: ['x'.repeat(129)] },
    ];
    for (const value of hostile)
      expect(await codeOf(sse.confirm(value)), JSON.stringify(value)).to.equal('INVALID_REQUEST');
  });

  it('are refused where the setting is off', async () => {
    await start(false);
    expect(await codeOf(send('b'))).to.equal('INVALID_OPTION');
    expect(await codeOf(send('a'))).to.equal('INVALID_OPTION');
    expect(await codeOf(cluster.node('a').sse.confirm({}))).to.equal('INVALID_OPTION');
    expect(client.events[0]?.data).to.have.keys(['connectionId', 'nodeId']);
  });
});
