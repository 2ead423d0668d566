import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { until } from '../../support/until.js';

class StreamController {
  @SseEndpoint('/sse/:clientId')
  stream(): void {
    // Only held open.
  }

  @SseEndpoint('/endless/:clientId')
  async *endless(): AsyncIterable<number> {
    for (let number = 0; ; number += 1) {
      yield number;
      await turn();
    }
  }
}

describe('closing the service', () => {
  it('ends every stream with a last event and leaves no socket', async () => {
    const app = await KoaApp.start({ controllers: [StreamController] });
    const clients = await Promise.all(
      ['/sse/a', '/sse/b', '/endless/c'].map(path => EventStreamClient.open(app.url + path)),
    );
    await until(() => app.store.size === 3, 'three connections');
    await app.service.close();
    for (const client of clients) {
      expect(await client.closeReason()).to.equal('shutdown');
      expect(await client.ended()).to.equal('clean');
    }
    await until(() => app.sockets.size === 0, 'the sockets to close');
    await app.close();
    expect(app.errors).to.deep.equal([]);
  });

  it('does not wait for a client that does not read', async () => {
    const app = await KoaApp.start({ controllers: [StreamController] });
    const client = await EventStreamClient.open(`${app.url}/sse/a`);
    await client.event('connected');
    client.pause();
    while (app.service.sendMessage('a', 'note', 'x'.repeat(500_000)).outcome === 'delivered') {
      await turn();
    }
    await app.service.close();
    await until(() => app.sockets.size === 0, 'the socket to be cut');
    client.leave();
    await app.close();
  });
});

describe('two applications in one process', () => {
  it('do not see each other’s connections', async () => {
    const [one, two] = [
      await KoaApp.start({ controllers: [StreamController] }),
      await KoaApp.start({ controllers: [StreamController] }),
    ];
    const first = await EventStreamClient.open(`${one.url}/sse/same`);
    const second = await EventStreamClient.open(`${two.url}/sse/same`);
    await first.event('connected');
    await second.event('connected');
    await one.service.broadcastToCluster('note', 'one');
    expect((await first.event('note')).data).to.equal('one');
    await one.close();
    expect(await first.closeReason()).to.equal('shutdown');
    two.service.sendMessage('same', 'note', 'two');
    expect((await second.event('note')).data).to.equal('two');
    expect(second.data('note')).to.deep.equal(['two']);
    second.leave();
    await two.close();
  });
});
