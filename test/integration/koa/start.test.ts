import { expect } from 'chai';
import { LocalCoordinator } from '../../../src/cluster/memory/coordinator.js';
import type { ClusterListener } from '../../../src/contracts/listener.js';
import { SseError } from '../../../src/errors.js';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { until } from '../../support/until.js';

class StreamController {
  @SseEndpoint('/sse/:clientId')
  stream(): void {
    // Only held open.
  }
}

/** Joins the cluster at the second try. */
class LateCoordinator extends LocalCoordinator {
  #tries = 0;

  override async start(listener: ClusterListener): Promise<void> {
    this.#tries += 1;
    if (this.#tries === 1) throw new SseError('UNAVAILABLE', 'not there yet');
    await super.start(listener);
  }
}

describe('sseMiddleware', () => {
  let app: KoaApp;

  afterEach(() => app.close());

  it('starts the service before the first request', async () => {
    app = await KoaApp.start();
    await until(() => app.service.health().ready, 'readiness');
    expect(app.service.getConnectionCount()).to.equal(0);
  });

  it('warns when the cluster is not there yet, and the first client tries again', async () => {
    const clusterCoordinator = new LateCoordinator('n', {
      takeoverLimit: 5,
      takeoverWindow: 30_000,
    });
    app = await KoaApp.start({
      controllers: [StreamController],
      overrides: { clusterCoordinator },
    });
    await until(() => app.logger.at('warn').length > 0, 'the warning');
    expect(app.logger.at('warn')[0]?.fields?.['error']).to.include({ code: 'UNAVAILABLE' });
    expect(app.service.health().ready).to.equal(false);
    const client = await EventStreamClient.open(`${app.url}/sse/a`);
    await client.event('connected');
    expect(app.service.health().ready).to.equal(true);
    client.leave();
  });

  it('answers 503 while the cluster cannot be joined', async () => {
    const error = new SseError('UNAVAILABLE', 'not there');
    class AbsentCoordinator extends LocalCoordinator {
      override async start(): Promise<void> {
        throw error;
      }
    }
    const clusterCoordinator = new AbsentCoordinator('n', {
      takeoverLimit: 5,
      takeoverWindow: 30_000,
    });
    app = await KoaApp.start({
      controllers: [StreamController],
      overrides: { clusterCoordinator },
    });
    const client = await EventStreamClient.open(`${app.url}/sse/a`);
    expect(client.status).to.equal(503);
    expect(client.headers['retry-after']).to.match(/^[1-9]\d*$/);
    expect(await client.errorCode()).to.equal('UNAVAILABLE');
  });
});
