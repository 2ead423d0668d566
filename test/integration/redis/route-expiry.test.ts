import { expect } from 'chai';
import { RouteExpiry } from '../../../src/cluster/redis/expiry.js';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { inBatches } from '../../support/redis/redis-costs.js';
import { withRegistry } from '../../support/redis/with-registry.js';

const ROUTES = 3_000;

describe('the removal of expired routes', () => {
  const { registry, gateway, count } = withRegistry();
  let expiry: RouteExpiry;
  let calls: number;

  beforeEach(() => {
    calls = 0;
    expiry = new RouteExpiry(
      {
        inc: 'a~1',
        options: resolveOptions({}),
        logger: new RecordingLogger(),
        telemetry: new SilentTelemetry().maintenance,
        gateway: {
          keys: registry().bench.keys,
          run: async (script, request) => {
            calls += 1;
            return gateway().run(script, request);
          },
        },
      },
      { isSteady: () => true, clockOf: () => undefined },
      () => undefined,
    );
  });

  const register = (ttlMs: number): Promise<void> =>
    inBatches(ROUTES, n => registry().a.register(`c${n}`, `t${n}`, { ttlMs }));

  it('is one call where nothing has to go, however many routes there are', async () => {
    await register(60_000);
    expect(await expiry.expire()).to.equal(0);
    expect(calls).to.equal(1);
  });

  it('visits every route with further runs', async () => {
    await register(60_000);
    const { bench, a } = registry();
    await a.register('late', 't', { ttlMs: 1 });
    await bench.advance(1);
    let removed = 0;
    for (let run = 0; run <= (2 * ROUTES) / 300 && removed === 0; run += 1) removed += await expiry.expire();
    expect(removed).to.equal(1);
  });

  it('goes on while there are expired routes', async () => {
    await register(1_000);
    await registry().bench.advance(1_000);
    expect(await expiry.expire()).to.equal(ROUTES);
    expect(calls).to.be.greaterThan(ROUTES / 1_000);
    expect((await count()).live).to.equal(0);
  });
});
