import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { inject, injectable } from 'inversify';
import { spy } from 'sinon';
import type { Context } from 'koa';
import type { SseGuard, SseRequest } from '../../../src/contracts/authorization.js';
import type { SseConnection } from '../../../src/contracts/connection.js';
import { Telemetry } from '../../../src/contracts/telemetry.js';
import { SseError } from '../../../src/errors.js';
import { SseController, SseEndpoint } from '../../../src/koa/endpoints.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';

const TOKENS = Symbol('tokens');
const asked: string[] = [];
let storedWhenAsked: number | undefined;
let app: KoaApp;

class First implements SseGuard {
  canConnect(): boolean {
    asked.push('first');
    storedWhenAsked = app.store.size + app.store.opening;
    return true;
  }
}

class Second implements SseGuard {
  async canConnect({ query }: SseRequest): Promise<boolean | number> {
    await delay(1);
    asked.push('second');
    switch (query['verdict']) {
      case 'no':
        return false;
      case 'throw':
        throw new Error('the guard broke');
      case 'truthy':
        return 'yes' as unknown as boolean;
      case 'hang':
        return new Promise(() => undefined);
      case undefined:
        return true;
      default:
        return Number(query['verdict']);
    }
  }
}

class Third implements SseGuard {
  canConnect(): boolean {
    asked.push('third');
    return true;
  }
}

@injectable()
class HasToken implements SseGuard {
  constructor(@inject(TOKENS) private readonly tokens: ReadonlySet<string>) {}

  // The request is Koa's context, so a guard may ask for both.
  canConnect(request: SseRequest & Context): boolean | number {
    request.state['user'] = request.params['clientId'];
    return this.tokens.has(request.get('X-Token')) || 401;
  }
}

@SseController('/guarded', { guards: [First] })
class GuardedController {
  @SseEndpoint('/:clientId', { guards: [Second, Third] })
  open(): void {
    asked.push('handler');
  }
}

class TokenController {
  @SseEndpoint('/token/:clientId', { guards: [HasToken] })
  open(connection: SseConnection, { state }: SseRequest): void {
    connection.send('user', state['user']);
  }
}

class OpenParent {
  @SseEndpoint('/same')
  open(): void {
    // Only held open.
  }
}

@SseController('/admin', { guards: [HasToken] })
class AdminParent {
  @SseEndpoint('/users')
  open(): void {
    // Only held open.
  }
}

@SseController('/admin/v2')
class AdminChild extends AdminParent {
  @SseEndpoint('/users')
  override open(): void {
    // Only held open.
  }
}

class StrictChild extends OpenParent {
  @SseEndpoint('/same', { guards: [HasToken] })
  override open(): void {
    // Only held open.
  }
}

class Misnamed {
  canActivate(): boolean {
    return true;
  }
}

class Forgetful {
  canConnect(): void {
    // A guard that only looks.
  }
}

class ForgetfulController {
  // As a JavaScript caller may write it.
  @SseEndpoint('/forgetful', { guards: [Forgetful as unknown as typeof First] })
  open(): void {
    // Never called.
  }
}

class UnaskedController {
  // As a JavaScript caller may write it.
  @SseEndpoint('/unasked', { guards: [Misnamed as unknown as typeof First] })
  open(): void {
    // Never called.
  }
}

describe('guards', () => {
  before(async () => {
    app = await KoaApp.start({
      options: { guards: { timeout: 100 } },
      controllers: [GuardedController, TokenController, StrictChild, AdminParent, AdminChild, UnaskedController],
      bind: container => {
        for (const guard of [First, Second, Third]) container.bind<SseGuard>(guard).toSelf();
        container.bind(HasToken).toSelf();
        container.bind(Misnamed).toSelf();
        container.bind(TOKENS).toConstantValue(new Set(['sesame']));
      },
    });
  });
  beforeEach(() => {
    asked.length = 0;
    app.errors.length = 0;
    storedWhenAsked = undefined;
  });
  after(() => app.close());

  const open = (path: string, headers = {}): Promise<EventStreamClient> =>
    EventStreamClient.open(app.url + path, { headers });

  it('run in order, the controller’s first, and then the handler', async () => {
    const client = await open('/guarded/a');
    await client.event('connected');
    expect(asked).to.deep.equal(['first', 'second', 'third', 'handler']);
    client.leave();
  });

  it('run before anything is registered', async () => {
    const client = await open('/guarded/b?verdict=no');
    await client.ended();
    expect(storedWhenAsked).to.equal(0);
    expect(app.store.size + app.store.opening).to.equal(0);
    expect(await app.service.isConnected('b')).to.equal(false);
  });

  it('leave the present owner of the id untouched when they refuse', async () => {
    const owner = await open('/guarded/c');
    await owner.event('connected');
    const intruder = await open('/guarded/c?verdict=no');
    await intruder.ended();
    app.service.sendMessage('c', 'note', 'still here');
    expect((await owner.event('note')).data).to.equal('still here');
    owner.leave();
  });

  it('refuse with 403 by false, and the next is not asked', async () => {
    const client = await open('/guarded/a?verdict=no');
    expect(client.status).to.equal(403);
    expect(await client.errorCode()).to.equal('FORBIDDEN');
    expect(asked).to.deep.equal(['first', 'second']);
  });

  it('refuse with the status they return, which the log has once', async () => {
    const client = await open('/guarded/a?verdict=402');
    expect(client.status).to.equal(402);
    expect(await client.errorCode()).to.equal('FORBIDDEN');
    expect((await open('/guarded/b?verdict=402')).status).to.equal(402);
    const lines = app.logger.at('warn').filter(({ fields }) => fields?.['status'] === 402);
    expect(lines).to.have.length(1);
    expect(lines[0]?.fields?.['reason']).to.include('Second does not admit');
  });

  it('send the client away for a while with 503', async () => {
    const client = await open('/guarded/a?verdict=503');
    expect(client.status).to.equal(503);
    expect(client.headers['retry-after']).to.match(/^[1-9]\d*$/);
  });

  it('admit by nothing but true', async () => {
    const client = await open('/guarded/a?verdict=truthy');
    expect(client.status).to.equal(403);
  });

  for (const verdict of [200, 101, 204, 302, 0, -1, 7, 600, 403.5, NaN]) {
    it(`that answer ${verdict} fail as the application does, and the request is not admitted`, async () => {
      const client = await open(`/guarded/a?verdict=${verdict}`);
      expect(client.status).to.equal(500);
      await client.ended();
      expect(client.text).to.not.include('Second');
      expect(app.errors).to.have.lengthOf(1);
      expect((app.errors[0] as Error).message).to.equal(
        `Second must answer true, false, a status from 400 to 599 or an object with a user, got ${verdict}`,
      );
      expect(asked).to.not.include('handler');
    });
  }

  it('that forget to return are in the log with what to return', async () => {
    const other = await KoaApp.start({
      controllers: [ForgetfulController],
      bind: container => container.bind(Forgetful).toSelf(),
    });
    try {
      expect((await EventStreamClient.open(`${other.url}/forgetful`)).status).to.equal(403);
      const [line] = other.logger.at('warn');
      expect(line?.fields?.['reason']).to.equal(
        'Forgetful does not admit this request: it answered undefined; return true or an object with a user',
      );
    } finally {
      await other.close();
    }
  });

  it('without the method are refused as the mistake that it is', async () => {
    const client = await open('/unasked');
    expect(client.status).to.equal(500);
    await client.ended();
    expect((app.errors[0] as Error).message).to.match(/^Misnamed must have a method canConnect\(request\)/);
  });

  it('that hang are given up after guards.timeout, and counted as refusals', async () => {
    const refused = spy(app.container.get(Telemetry).connections, 'refused');
    const client = await open('/guarded/a?verdict=hang');
    expect(client.status).to.equal(503);
    expect(client.headers['retry-after']).to.match(/^[1-9]\d*$/);
    expect(await client.errorCode()).to.equal('UNAVAILABLE');
    const browser = await open('/guarded/a?verdict=hang', { Accept: 'text/event-stream' });
    expect(browser.status).to.equal(200);
    expect(await browser.closeReason()).to.equal('unavailable');
    const codes = refused.args.map(([, error]) => SseError.is(error) && error.code);
    refused.restore();
    expect(codes).to.deep.equal(['UNAVAILABLE', 'UNAVAILABLE']);
    const guards = app.logger.at('warn').flatMap(({ fields }) => fields?.['guard'] ?? []);
    expect(guards).to.deep.equal(['Second', 'Second']);
    expect(asked).to.not.include('handler');
  });

  it('that throw leave the answer to Koa', async () => {
    const client = await open('/guarded/a?verdict=throw');
    expect(client.status).to.equal(500);
    await client.ended();
    expect(app.errors.map(error => (error as Error).message)).to.deep.equal(['the guard broke']);
  });

  it('are not asked when the answer would not be acceptable', async () => {
    const client = await open('/guarded/a', { Accept: 'application/json' });
    expect(client.status).to.equal(406);
    expect(asked).to.deep.equal([]);
  });

  it('are built by the container with what they depend on', async () => {
    const admitted = await open('/token/ann', { 'X-Token': 'sesame' });
    expect((await admitted.event('user')).data).to.equal('ann');
    admitted.leave();
    const refused = await open('/token/ann', { 'X-Token': 'open' });
    expect(refused.status).to.equal(401);
  });

  it('of a controller hold for its subclasses, whatever prefix these have', async () => {
    for (const path of ['/admin/users', '/admin/v2/users', '/ADMIN/V2/USERS/']) {
      expect((await open(path)).status).to.equal(401);
    }
  });

  it('of a subclass cannot be got round by the record of its parent', async () => {
    const client = await open('/same');
    expect(client.status).to.equal(401);
  });
});
