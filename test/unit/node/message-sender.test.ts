import { expect } from 'chai';
import sinon from 'sinon';
import type { ClusterCoordinator } from '../../../src/contracts/cluster.js';
import type { Receipt, SendResult } from '../../../src/contracts/events.js';
import type { ResiliencePolicy } from '../../../src/contracts/policy.js';
import { SseError } from '../../../src/errors.js';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { CockatielPolicy } from '../../../src/resilience/policies.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { codeOf } from '../../support/code-of.js';
import { hookedCoordinator } from '../../support/hooked-coordinator.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestClient, TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

describe('MessageSender', () => {
  let cluster: TestCluster;
  let node: TestNode;
  let other: TestNode;

  beforeEach(async () => {
    cluster = new TestCluster();
    node = await cluster.started('a', { options: { limits: { maxEventBytes: 1000 } } });
    other = await cluster.started('b', { options: { sendBuffer: { maxBytes: 1000 } } });
  });

  afterEach(() => cluster.close());

  const send = (connectionId: string, data: unknown = 'x', options = {}): Promise<Receipt> =>
    node.service.sendMessageToConnection(connectionId, 'message', data, options);

  /** A client that takes nothing and whose send buffer is full. */
  async function full(owner: TestNode, policy: 'keep' | 'fill' = 'fill'): Promise<TestClient> {
    const client = await owner.connect('slow');
    await turns();
    client.sink.block();
    if (policy === 'fill') client.connection.send('message', 'x'.repeat(900));
    return client;
  }

  describe('a send on this node', () => {
    it('is delivered, with the ids of message and connection', async () => {
      const { sink } = await node.connect('c1');
      await turns();
      const receipt = node.service.sendMessage('c1', 'message', 'x');
      expect(receipt).to.include({ outcome: 'delivered', connectionId: 'c1', nodeId: 'a' });
      expect(receipt.messageId).to.match(/^[\w-]{1,128}$/);
      expect(receipt.ms).to.be.at.least(0);
      expect(sink.data('message')).to.deep.equal(['x']);
    });

    it('is buffered for a slow client', async () => {
      await full(node, 'keep');
      expect(node.service.sendMessage('slow', 'message', 'x')).to.include({
        outcome: 'buffered',
        nodeId: 'a',
      });
    });

    it('is not connected for an unknown id and for a connection of another node', async () => {
      await other.connect('c1');
      for (const id of ['c1', 'nobody']) {
        const receipt = node.service.sendMessage(id, 'message', 'x');
        expect(receipt).to.include({ outcome: 'not-connected', connectionId: id });
      }
    });

    it('is rejected when it is too large, before the connection is looked up', async () => {
      const data = 'x'.repeat(1001);
      const { sink } = await node.connect('c1');
      for (const id of ['c1', 'nobody']) {
        expect(node.service.sendMessage(id, 'message', data)).to.include({
          outcome: 'rejected',
          code: 'EVENT_TOO_LARGE',
        });
      }
      expect(sink.names).to.deep.equal(['connected']);
    });

    it('is rejected when the send buffer is full', async () => {
      await full(other);
      expect(other.service.sendMessage('slow', 'message', 'x'.repeat(200))).to.include({
        outcome: 'rejected',
        code: 'SEND_BUFFER_FULL',
        nodeId: 'b',
      });
    });

    it('has a new message id by default', () => {
      const ids = [1, 2].map(() => node.service.sendMessage('c1', 'message', 'x').messageId);
      expect(ids[0]).to.not.equal(ids[1]);
      const options = { messageId: 'mine' };
      expect(node.service.sendMessage('c1', 'message', 'x', options).messageId).to.equal('mine');
    });

    it('message ids of two nodes differ', () => {
      const receipts = [node, other].map(({ service }) => service.sendMessage('c1', 'message', 'x'));
      expect(receipts[0]?.messageId).to.not.equal(receipts[1]?.messageId);
    });

    it('with a message id that was delivered gets the same answer and is not written again', async () => {
      const { sink } = await node.connect('c1');
      await turns();
      const options = { messageId: 'm1' };
      const first = node.service.sendMessage('c1', 'message', 'x', options);
      sink.block();
      const second = node.service.sendMessage('c1', 'message', 'x', options);
      expect([first.outcome, second.outcome]).to.deep.equal(['delivered', 'delivered']);
      await turns();
      expect(sink.data('message')).to.deep.equal(['x']);
    });

    it('sends id and retry of the event', async () => {
      const { sink } = await node.connect('c1', { ids: 'application' });
      node.service.sendMessage('c1', 'price', 'x', { id: 'my id', retry: 1234 });
      await turns();
      expect(sink.lastEvent).to.include({ event: 'price', id: 'my id', data: 'x' });
      expect(sink.retries.at(-1)).to.equal(1234);
    });

    const invalid: readonly [string, string, () => unknown][] = [
      ['a reserved event name', 'INVALID_EVENT_NAME', () => sendNow('sse.closed', 'x')],
      ['an event name with a line break', 'INVALID_EVENT_NAME', () => sendNow('a\nb', 'x')],
      ['data that is no JSON', 'NOT_SERIALIZABLE', () => sendNow('message', 1n)],
      ['an id with NUL', 'INVALID_EVENT_ID', () => sendNow('message', 'x', { id: '\0' })],
      ['a negative retry', 'INVALID_RETRY', () => sendNow('message', 'x', { retry: -1 })],
      ['an empty message id', 'INVALID_EVENT_ID', () => sendNow('message', 'x', { messageId: '' })],
      ['a message id with a line break', 'INVALID_EVENT_ID', () => sendNow('message', 'x', { messageId: 'a\nb' })],
      ['a message id of 129 bytes', 'INVALID_EVENT_ID', () => sendNow('message', 'x', { messageId: 'x'.repeat(129) })],
    ];
    const sendNow = (event: string, data: unknown, options = {}): unknown =>
      node.service.sendMessage('c1', event, data, options);
    for (const [title, code, call] of invalid) {
      it(`${title} is thrown as ${code}, and nothing is sent`, async () => {
        const { sink } = await node.connect('c1');
        let error: unknown;
        try {
          call();
        } catch (thrown) {
          error = thrown;
        }
        await turns();
        expect(SseError.is(error, code as SseError['code'])).to.equal(true);
        expect(sink.names).to.deep.equal(['connected']);
      });
    }

    it('an invalid connection id is thrown', () => {
      expect(() => node.service.sendMessage('', 'message', 'x')).to.throw(SseError);
    });
  });

  describe('a send to any node', () => {
    it('is delivered here', async () => {
      const { sink } = await node.connect('c1');
      await turns();
      expect(await send('c1')).to.include({
        outcome: 'delivered',
        nodeId: 'a',
        connectionId: 'c1',
      });
      expect(sink.data('message')).to.deep.equal(['x']);
    });

    it('is rejected when it is too large, without asking the cluster', async () => {
      cluster.bus.cut('a');
      expect(await send('c1', 'x'.repeat(1001))).to.include({
        outcome: 'rejected',
        code: 'EVENT_TOO_LARGE',
      });
    });

    it('is not connected when the connection of the owner has closed', async () => {
      const { sink } = await other.connect('c1');
      cluster.bus.cut('b');
      sink.leave();
      await turns();
      cluster.bus.heal('b');
      expect(await send('c1')).to.include({ outcome: 'not-connected' });
    });

    it('follows send.ack by default', async () => {
      const sender = await cluster.started('c', { options: { send: { ack: 'none' } } });
      await other.connect('c1');
      const routed = await sender.service.sendMessageToConnection('c1', 'message', 'x');
      expect(routed.outcome).to.equal('routed');
      const options = { ack: 'owner' } as const;
      const asked = await sender.service.sendMessageToConnection('c1', 'message', 'x', options);
      expect(asked.outcome).to.equal('delivered');
    });

    it('joins the cluster when the node has not joined before', async () => {
      await other.connect('c1');
      const worker = cluster.node('worker');
      const receipt = await worker.service.sendMessageToConnection('c1', 'message', 'x');
      expect(receipt).to.include({ outcome: 'delivered', nodeId: 'b' });
    });

    it('the same message id twice is written once', async () => {
      const { sink } = await other.connect('c1');
      await turns();
      const receipts = [await send('c1', 'x', { messageId: 'm1' })];
      receipts.push(await send('c1', 'x', { messageId: 'm1' }));
      receipts.push(await other.service.sendMessageToConnection('c1', 'message', 'x', { messageId: 'm1' }));
      expect(receipts.map(({ outcome }) => outcome)).to.deep.equal(Array(3).fill('delivered'));
      expect(receipts.map(({ messageId }) => messageId)).to.deep.equal(Array(3).fill('m1'));
      await turns();
      expect(sink.data('message')).to.deep.equal(['x']);
    });

    describe('with the id of one that was unknown', () => {
      /** The owner delivers, or does not, and its answer is lost; then the client moves. */
      const lost = async (delivers: boolean, goesTo: TestNode) => {
        const first = await other.connect('c1');
        const wrap = (inner: ClusterCoordinator): ClusterCoordinator =>
          alteredCoordinator(inner, {
            messenger: {
              send: async message => {
                if (isLost && delivers) await inner.messenger.send(message);
                return isLost ? { outcome: 'unknown', nodeId: 'b' } : inner.messenger.send(message);
              },
            },
          });
        let isLost = true;
        const sender = await cluster.started('sender', { wrap });
        const { messageId, ...receipt } = await sender.service.sendMessageToConnection('c1', 'message', 'x');
        expect(receipt).to.include({ outcome: 'unknown', nodeId: 'b' });
        isLost = false;
        first.sink.leave();
        await turns();
        const again = await (goesTo === node ? node : sender).connect('c1', { lastEventId: first.sink.lastId ?? '' });
        const resend = () => sender.service.sendMessageToConnection('c1', 'message', 'x', { messageId });
        return { resend, got: () => [...first.sink.data('message'), ...again.sink.data('message')] };
      };

      for (const [where, goesTo] of [
        ['another node', () => node],
        ['the node of the sender', () => other],
      ] as const) {
        it(`is written once, after the client had it and moved to ${where}`, async () => {
          const { resend, got } = await lost(true, goesTo());
          expect(await resend()).to.include({ outcome: 'delivered', nodeId: 'b' });
          expect(got()).to.deep.equal(['x']);
        });

        it(`is written when the client did not have it and moved to ${where}`, async () => {
          const { resend, got } = await lost(false, goesTo());
          expect((await resend()).outcome).to.equal('delivered');
          await turns();
          expect(got()).to.deep.equal(['x']);
        });
      }

      it('is unknown again while the former owner cannot be asked, and after it has gone', async () => {
        const { resend, got } = await lost(true, node);
        cluster.bus.cut('b');
        expect(await resend()).to.include({ outcome: 'unknown', nodeId: 'b' });
        cluster.bus.heal('b');
        await other.service.close();
        expect(await resend()).to.include({ outcome: 'unknown', nodeId: 'b' });
        await cluster.started('b');
        expect(await resend()).to.include({ outcome: 'unknown', nodeId: 'b' });
        expect(got()).to.deep.equal(['x']);
      });
    });

    describe('with a message id of the application, which another node sends again', () => {
      /** Its client is on `other`, which gets it or is cut off, and moves to a third node. */
      const moved = async (delivers: boolean) => {
        const first = await other.connect('c1');
        const options = { messageId: 'order-17' };
        if (!delivers) cluster.bus.cut('b');
        const { outcome } = await send('c1', 'x', { ...options, deadline: 20 });
        expect(outcome).to.equal(delivers ? 'delivered' : 'unknown');
        cluster.bus.heal('b');
        first.sink.leave();
        await turns();
        const third = await cluster.started('c');
        const again = await third.connect('c1', { lastEventId: first.sink.lastId ?? '' });
        const sender = await cluster.started('d');
        const resend = () => sender.service.sendMessageToConnection('c1', 'message', 'x', options);
        return { resend, got: () => [...first.sink.data('message'), ...again.sink.data('message')] };
      };

      it('is written once, wherever the client is', async () => {
        const { resend, got } = await moved(true);
        expect(await resend()).to.include({ outcome: 'delivered', nodeId: 'b' });
        expect(got()).to.deep.equal(['x']);
      });

      it('is written when the client did not have it', async () => {
        const { resend, got } = await moved(false);
        expect(await resend()).to.include({ outcome: 'delivered', nodeId: 'c' });
        await turns();
        expect(got()).to.deep.equal(['x']);
      });

      it('is unknown while the former owner cannot say so', async () => {
        const { resend, got } = await moved(true);
        cluster.bus.cut('b');
        expect(await resend()).to.include({ outcome: 'unknown', nodeId: 'b' });
        cluster.bus.heal('b');
        await other.service.close();
        expect(await resend()).to.include({ outcome: 'unknown', nodeId: 'b' });
        expect(got()).to.deep.equal(['x']);
      });
    });

    it('refuses invalid events before it asks a node', async () => {
      const { service } = node;
      const rejected: [Promise<unknown>, string][] = [
        [service.sendMessageToConnection('', 'message', 'x'), 'INVALID_CONNECTION_ID'],
        [service.sendMessageToConnection('c1', 'connected', 'x'), 'INVALID_EVENT_NAME'],
        [service.sendMessageToConnection('c1', 'message', undefined), 'NOT_SERIALIZABLE'],
        [send('c1', 'x', { messageId: 'a\nb' }), 'INVALID_EVENT_ID'],
      ];
      for (const [call, code] of rejected) expect(await codeOf(call)).to.equal(code);
    });
  });

  describe('a deadline', () => {
    let clock: sinon.SinonFakeTimers;

    beforeEach(() => {
      clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    });

    afterEach(() => {
      clock.restore();
    });

    /** When the receipt came, in milliseconds, and what it says. */
    async function answer(receipt: Promise<Receipt>): Promise<[number, string]> {
      const start = Date.now();
      let outcome: string | undefined;
      void receipt.then(settled => (outcome = settled.outcome));
      for (;;) {
        await turns(2);
        if (outcome !== undefined) return [Date.now() - start, outcome];
        await clock.tickAsync(50);
      }
    }

    it('makes a send that the owner does not answer unknown', async () => {
      await other.connect('c1');
      cluster.bus.cut('b');
      expect(await answer(send('c1', 'x', { deadline: 1000 }))).to.deep.equal([1000, 'unknown']);
      expect(await answer(send('c1'))).to.deep.equal([3000, 'unknown']);
    });

    it('holds for a cluster that hangs: a message that was sent is unknown', async () => {
      const sender = await cluster.started('c', {
        wrap: inner =>
          hookedCoordinator(inner, method => (method === 'messenger.send' ? new Promise(() => undefined) : undefined)),
      });
      const receipt = sender.service.sendMessageToConnection('c1', 'message', 'x');
      expect(await answer(receipt)).to.deep.equal([3000, 'unknown']);
    });

    it('holds while the cluster is not joined: a message that was not sent is unavailable, and is not sent later', async () => {
      const { sink } = await other.connect('c1');
      let join: () => void = () => undefined;
      const sender = cluster.node('c', {
        wrap: inner =>
          hookedCoordinator(inner, (method, when) =>
            method === 'start' && when === 'before' ? new Promise<void>(resolve => (join = resolve)) : undefined,
          ),
      });
      const options = { deadline: 500 };
      const receipt = sender.service.sendMessageToConnection('c1', 'message', 'x', options);
      expect(await answer(receipt)).to.deep.equal([500, 'unavailable']);
      join();
      await turns();
      expect(sink.data('message')).to.deep.equal([]);
    });

    it('holds for a policy that lets calls wait: a message that was not sent is unavailable', async () => {
      const policy: ResiliencePolicy = {
        execute: (kind, operation) =>
          kind === 'send' ? new Promise(() => undefined) : operation(new AbortController()),
        circuit: () => 'closed',
      };
      const sender = await cluster.started('c', { policy });
      const receipt = sender.service.sendMessageToConnection('c1', 'message', 'x');
      expect(await answer(receipt)).to.deep.equal([3000, 'unavailable']);
    });

    it('leaves no timer behind when the answer comes', async () => {
      await other.connect('c1');
      await turns();
      // The first message begins the job that forgets old message ids.
      await send('c1');
      const before = clock.countTimers();
      await send('c1');
      expect(clock.countTimers()).to.equal(before);
    });
  });

  describe('a policy that gives up', () => {
    const givingUp = (after: 'before' | 'during'): ResiliencePolicy => ({
      async execute(kind, operation) {
        const context = new AbortController();
        if (kind !== 'send') return operation(context);
        if (after === 'during') void operation(context);
        await turns(1);
        throw new SseError('UNAVAILABLE', 'given up');
      },
      circuit: () => 'closed',
    });

    it('before it ran the send means that it is certainly not sent', async () => {
      const sender = await cluster.started('c', { policy: givingUp('before') });
      const receipt = await sender.service.sendMessageToConnection('c1', 'message', 'x');
      expect(receipt.outcome).to.equal('unavailable');
    });

    it('while it ran makes the outcome unknown', async () => {
      const { sink } = await other.connect('c1');
      const sender = await cluster.started('c', { policy: givingUp('during') });
      const receipt = await sender.service.sendMessageToConnection('c1', 'message', 'x');
      expect(receipt.outcome).to.equal('unknown');
      await turns();
      expect(sink.data('message')).to.deep.equal(['x']);
    });
  });

  describe('a policy that repeats and breaks', () => {
    let asked: number;
    let answers: (SendResult | SseError)[];
    let policy: CockatielPolicy;
    let sender: TestNode;
    let reachable: boolean;

    beforeEach(() => {
      reachable = false;
    });

    /** Whose coordinator gives these answers, and the real one when there are no more. */
    const start = async (...given: (SendResult | SseError)[]): Promise<void> => {
      asked = 0;
      answers = given;
      policy = new CockatielPolicy(
        resolveOptions({
          script: { retryCount: 2, retryInterval: 1 },
          resilience: { send: { breakerFailures: 3, breakerCooldown: 60_000 } },
        }),
      );
      sender = await cluster.started('c', {
        policy,
        wrap: inner =>
          alteredCoordinator(inner, {
            status: () => ({ reachable }),
            messenger: {
              send: async message => {
                asked += 1;
                const answer = answers.shift() ?? inner.messenger.send(message);
                if (answer instanceof SseError) throw answer;
                return answer;
              },
            },
          }),
      });
    };
    const ask = async (): Promise<string> =>
      (await sender.service.sendMessageToConnection('c1', 'message', 'x')).outcome;
    const unavailable: SendResult = { outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' };

    it('repeats what was not sent', async () => {
      const { sink } = await other.connect('c1');
      await start(unavailable, unavailable);
      expect(await ask()).to.be.oneOf(['delivered', 'buffered']);
      await turns();
      expect(sink.data('message')).to.deep.equal(['x']);
      expect(asked).to.equal(3);
    });

    it('counts what was not sent as a failure of the cluster, and stops asking', async () => {
      await start(unavailable, unavailable, unavailable);
      expect(await ask()).to.equal('unavailable');
      expect(policy.circuit('send')).to.equal('open');
      expect(await ask()).to.equal('unavailable');
      expect(asked).to.equal(3);
    });

    it('does not repeat what may have been sent', async () => {
      await start({ outcome: 'unknown' });
      expect(await ask()).to.equal('unknown');
      expect(asked).to.equal(1);
    });

    it('does not forget that an earlier try may have been sent', async () => {
      await start(new SseError('UNAVAILABLE', 'no answer'), unavailable, unavailable);
      expect(await ask()).to.equal('unknown');
      expect(asked).to.equal(3);
    });

    it('does not answer not-connected when an earlier try may have been sent', async () => {
      await start(new SseError('UNAVAILABLE', 'no answer'), { outcome: 'not-connected' });
      expect(await ask()).to.equal('unknown');
    });

    it('does not repeat, nor count, that the owner alone cannot be reached', async () => {
      reachable = true;
      await start(unavailable, unavailable, unavailable, unavailable);
      for (let n = 1; n <= 4; n += 1) expect(await ask()).to.equal('unavailable');
      expect(asked).to.equal(4);
      expect(policy.circuit('send')).to.equal('closed');
    });
  });

  describe('the number of sends that wait', () => {
    it('is limited; further ones are rejected at once, until one is answered', async () => {
      let release: () => void = () => undefined;
      const sender = await cluster.started('c', {
        options: { send: { maxPending: 2 } },
        wrap: inner =>
          hookedCoordinator(inner, (method, when) =>
            method === 'messenger.send' && when === 'after'
              ? new Promise<void>(resolve => (release = resolve))
              : undefined,
          ),
      });
      await other.connect('c1');
      await sender.connect('here');
      const ask = (id: string) => sender.service.sendMessageToConnection(id, 'message', 'x');
      const waiting = [ask('c1'), ask('c1')];
      expect(await ask('c1')).to.include({ outcome: 'rejected', code: 'MESSAGE_LIMIT' });
      expect((await ask('here')).outcome).to.be.oneOf(['delivered', 'buffered']);
      await turns();
      release();
      expect(await waiting[1]).to.include({ outcome: 'delivered' });
      const next = ask('c1');
      await turns();
      release();
      expect(await next).to.include({ outcome: 'delivered' });
    });

    it('goes down after failures as well', async () => {
      const sender = await cluster.started('c', {
        options: { send: { maxPending: 1 } },
        wrap: inner =>
          hookedCoordinator(inner, method => {
            if (method === 'messenger.send') throw new SseError('INTERNAL', 'broken');
          }),
      });
      const ask = () => sender.service.sendMessageToConnection('c1', 'message', 'x');
      expect(await ask()).to.include({ outcome: 'unknown' });
      expect(await ask()).to.include({ outcome: 'unknown' });
    });
  });
});
