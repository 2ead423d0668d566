import { context, type SpanContext, SpanStatusCode, trace } from '@opentelemetry/api';
import { expect } from 'chai';
import type { ResumableSource } from '../../../src/contracts/service.js';
import { SseError } from '../../../src/errors.js';
import { codeOf } from '../../support/code-of.js';
import { RecordingSdk } from '../../support/recording-sdk.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestClient, TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';
import { until } from '../../support/until.js';

const options = { mailbox: { enabled: true }, source: { lease: 200, maxEntries: 10 } };

describe('telemetry of what is kept', () => {
  let sdk: RecordingSdk;
  let cluster: TestCluster;
  let a: TestNode;
  let b: TestNode;

  beforeEach(async () => {
    sdk = RecordingSdk.start();
    cluster = new TestCluster();
    a = await cluster.started('a', { options });
    b = await cluster.started('b', { options });
  });

  afterEach(async () => {
    await cluster.close();
    sdk.stop();
  });

  const parentOf = (name: string): string | undefined => sdk.span(name).parentSpanContext?.spanId;
  const idOf = (name: string): string => sdk.span(name).spanContext().spanId;

  describe('a durable send', () => {
    it('to an unknown id is stored, in its spans and in metrics', async () => {
      const receipt = await a.service.sendMessageToConnection('c1', 'chat', 'hi', {
        durable: true,
      });
      expect(receipt.outcome).to.equal('stored');
      expect(parentOf('sse.route')).to.equal(idOf('sse.send'));
      for (const name of ['sse.send', 'sse.route']) {
        const { attributes, status } = sdk.span(name);
        expect(attributes).to.include({ 'sse.outcome': 'stored', 'sse.connection.id': 'c1' });
        expect(status.code).to.equal(SpanStatusCode.UNSET);
      }
      const stored = { 'sse.scope': 'connection', 'sse.outcome': 'stored' };
      expect(await sdk.value('sse.events.sent', stored)).to.equal(1);
      expect(await sdk.value('sse.route.duration', { 'sse.outcome': 'stored' })).to.equal(1);
    });

    it('to another node continues there, for that connection and linked to its opening', async () => {
      await b.connect('c1');
      await turns();
      const connect = sdk.span('sse.connect').spanContext();
      sdk.forget();
      await a.service.sendMessageToConnection('c1', 'chat', 'hi', { durable: true });
      const deliver = sdk.spans('sse.deliver').find(({ attributes }) => attributes['sse.node.id'] === 'b');
      expect(deliver?.parentSpanContext?.spanId).to.equal(idOf('sse.route'));
      expect(deliver?.links.map(link => link.context)).to.deep.equal([connect]);
      expect(deliver?.attributes).to.include({
        'sse.connection.id': 'c1',
        'sse.scope': 'connection',
        'sse.outcome': 'delivered',
        'messaging.destination.name': 'c1',
      });
      expect(deliver?.attributes).to.not.have.any.keys('sse.topic');
      const delivered = { 'sse.scope': 'connection', 'sse.outcome': 'delivered' };
      expect(await sdk.value('sse.deliveries', delivered)).to.equal(1);
      expect(await sdk.points('sse.deliveries')).to.not.deep.include({ 'sse.scope': 'topic' });
    });

    it('to a connection of the node itself is a whole trace as well', async () => {
      await a.connect('c1');
      await turns();
      sdk.forget();
      await a.service.sendMessageToConnection('c1', 'chat', 'hi', { durable: true });
      expect(parentOf('sse.send')).to.equal(undefined);
      expect(parentOf('sse.route')).to.equal(idOf('sse.send'));
    });

    it('shows no connection id where those are hidden', async () => {
      const hidden = { ...options, telemetry: { hideConnectionIds: true } };
      const c = await cluster.started('c', { options: hidden });
      const d = await cluster.started('d', { options: hidden });
      await a.service.close();
      await b.service.close();
      await d.connect('secret-7', { topics: ['news'] });
      await turns();
      await c.service.sendMessageToConnection('secret-7', 'chat', 'hi', { durable: true });
      const recorded = sdk.spans().map(({ attributes }) => attributes);
      expect(recorded.map(attributes => attributes['sse.topics'])).to.deep.include(['news']);
      expect(JSON.stringify(recorded)).to.not.include('secret-7');
    });

    it('that waited for its client is a replay, with how much it was', async () => {
      for (const text of ['1', '2']) {
        await a.service.sendMessageToConnection('c1', 'chat', text, { durable: true });
      }
      sdk.forget();
      await b.connect('c1');
      expect(sdk.span('sse.replay').attributes['sse.replay.entries']).to.equal(2);
      expect(parentOf('sse.replay')).to.equal(idOf('sse.connect'));
      expect(await sdk.value('sse.replay.entries', { 'sse.node.id': 'b' })).to.equal(2);
    });
  });

  describe('a resumable source', () => {
    let seen: (SpanContext | undefined)[];
    let proceed: () => void;
    let going: Promise<void>;

    beforeEach(() => {
      seen = [];
      going = new Promise(resolve => (proceed = resolve));
    });

    const look = (): void => {
      seen.push(trace.getSpanContext(context.active()));
    };
    const twoItems = async function* (): AsyncGenerator<object> {
      look();
      yield { event: 'token', data: 1 };
      await going;
      look();
      yield { event: 'token', data: 2 };
    };
    const failing = async function* (): AsyncGenerator<string> {
      yield '1';
      await going;
      throw new Error('no more');
    };
    const endless = async function* ({ signal }: ResumableSource): AsyncGenerator<string> {
      yield '1';
      await new Promise(resolve => {
        signal.addEventListener('abort', resolve);
      });
    };
    const follow = async (
      on: TestNode,
      id: string,
      start: (source: ResumableSource) => unknown,
    ): Promise<TestClient> => {
      const client = await on.connect(id, { source: { key: 'answer', start } });
      await until(() => client.sink.data('message').length + client.sink.data('token').length > 0, 'an item');
      return client;
    };
    const gone = (client: TestClient): Promise<void> =>
      until(() => client.sink.ended, `the end of ${client.connection.id}`);

    it('runs in the trace of the client that started it, to its end', async () => {
      const client = await follow(a, 'c1', twoItems);
      const { traceId, spanId } = sdk.span('sse.connect').spanContext();
      proceed();
      await gone(client);
      expect(seen.map(found => found?.spanId)).to.deep.equal([spanId, spanId]);
      const end = sdk.span('sse.publish');
      expect(end.spanContext().traceId).to.equal(traceId);
      expect(end.parentSpanContext?.spanId).to.equal(spanId);
      expect(end.attributes).to.include({
        'sse.node.id': 'a',
        'sse.source.key': 'answer',
        'sse.scope': 'source',
        'sse.event.name': 'sse.closed',
        'sse.outcome': 'stored',
      });
    });

    it('names its key in the openings of its followers, and no topic of its own', async () => {
      const client = await follow(a, 'c1', twoItems);
      expect(sdk.span('sse.connect').attributes).to.include({ 'sse.source.key': 'answer' });
      expect(sdk.span('sse.connect').attributes['sse.topics']).to.deep.equal([]);
      proceed();
      await gone(client);
    });

    it('counts its events where it runs and deliveries where the followers are; no span for each', async () => {
      const clients = [await follow(a, 'c1', twoItems), await follow(b, 'c2', twoItems)];
      sdk.forget();
      proceed();
      for (const client of clients) await gone(client);
      const sent = { 'sse.scope': 'source', 'sse.outcome': 'stored' };
      expect(await sdk.value('sse.events.sent', { ...sent, 'sse.node.id': 'a' })).to.equal(2);
      expect(await sdk.value('sse.events.sent', { ...sent, 'sse.node.id': 'b' })).to.equal(undefined);
      // The second item and the end; the first was its replay.
      const delivered = { 'sse.scope': 'source', 'sse.outcome': 'delivered', 'sse.node.id': 'b' };
      expect(await sdk.value('sse.deliveries', delivered)).to.equal(2);
      expect(await sdk.points('sse.delivery.latency')).to.have.length(1);
      // The end: sent once, and delivered by each node once.
      expect(sdk.spans('sse.publish')).to.have.length(1);
      expect(sdk.spans('sse.deliver')).to.have.length(2);
    });

    it('that fails closes its followers as failed, the late ones too', async () => {
      const client = await follow(a, 'c1', failing);
      proceed();
      await gone(client);
      await gone(await follow(b, 'late', failing));
      const failed = { 'sse.close.reason': 'failed' };
      for (const node of ['a', 'b']) {
        const labels = { ...failed, 'sse.node.id': node };
        expect(await sdk.value('sse.connections.closed', labels)).to.equal(1);
      }
    });

    it('whose node is gone is a cleanup where it is noticed, and a reset for each follower', async () => {
      const lost = await follow(b, 'c1', endless);
      const clients = [await follow(a, 'c2', endless), await follow(a, 'c3', endless)];
      cluster.bus.cut('b');
      for (const client of clients) await gone(client);
      await until(() => sdk.spans('sse.cleanup').length > 0, 'the cleanup');
      expect(sdk.span('sse.cleanup').attributes).to.include({
        'sse.node.id': 'a',
        'sse.cleanup.kind': 'source',
        'sse.cleanup.removed': 1,
      });
      // A timer that the first follower started does not put it into that one's trace.
      const end = sdk.spans('sse.publish').find(span => span.attributes['sse.node.id'] === 'a');
      expect(end?.parentSpanContext).to.equal(undefined);
      expect(end?.attributes['sse.event.name']).to.equal('sse.reset');
      const reset = { 'sse.reset.reason': 'PRODUCER_LOST', 'sse.node.id': 'a' };
      expect(await sdk.value('sse.replay.resets', reset)).to.equal(2);
      const closed = { 'sse.close.reason': 'failed', 'sse.node.id': 'a' };
      expect(await sdk.value('sse.connections.closed', closed)).to.equal(2);
      await gone(await follow(a, 'late', endless));
      expect(await sdk.value('sse.replay.resets', reset)).to.equal(3);
      lost.sink.leave();
    });

    for (const [code, outcome] of [
      ['EVENT_TOO_LARGE', 'rejected'],
      ['UNAVAILABLE', 'unavailable'],
    ] as const) {
      it(`of which an event cannot be kept for ${code} counts it as ${outcome}`, async () => {
        const failure = new SseError(code, 'cannot be kept');
        const appending = a.telemetry.events.appending('token', () => Promise.reject(failure));
        expect(await codeOf(appending)).to.equal(code);
        const labels = { 'sse.scope': 'source', 'sse.outcome': outcome };
        expect(await sdk.value('sse.events.sent', labels)).to.equal(1);
      });
    }
  });
});
