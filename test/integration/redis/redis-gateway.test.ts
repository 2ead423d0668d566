import { expect } from 'chai';
import { Redis } from 'ioredis';
import { historyScript } from '../../../src/cluster/redis/scripts.js';
import { SseError } from '../../../src/errors.js';
import { withGateways } from '../../support/redis/with-gateways.js';
import { withRedis } from '../../support/redis/with-redis.js';

describe('RedisGateway', () => {
  const { make, failure, count, publish } = withGateways();

  describe('on a single Redis', () => {
    const server = withRedis();
    const stat = async (command: string) => {
      const info = await server.redis.admin.info('commandstats');
      return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(info)?.[1] ?? 0);
    };

    it('sends a script once on each connection and its digest after', async () => {
      const gateway = make({ url: server.redis.url });
      await gateway.open();
      await server.redis.admin.config('RESETSTAT');
      for (let n = 0; n < 5; n += 1) await count(gateway);
      expect([await stat('eval'), await stat('evalsha')]).to.deep.equal([1, 4]);
    });

    it('goes on after SCRIPT FLUSH', async () => {
      const gateway = make({ url: server.redis.url });
      await gateway.open();
      await count(gateway);
      await server.redis.admin.script('FLUSH');
      const replies = await Promise.all(Array.from({ length: 5 }, () => count(gateway)));
      expect(replies.map(({ status }) => status)).to.deep.equal(Array(5).fill('OK'));
    });

    it('sends the whole script each time when the cache is not wanted', async () => {
      const gateway = make({ url: server.redis.url }, { scriptCache: false });
      await gateway.open();
      await server.redis.admin.config('RESETSTAT');
      for (let n = 0; n < 5; n += 1) await count(gateway);
      expect([await stat('eval'), await stat('evalsha')]).to.deep.equal([5, 0]);
    });

    for (const scriptCache of [true, false]) {
      it(`brings a payload back byte for byte with the cache ${scriptCache ? 'on' : 'off'}`, async () => {
        const gateway = make({ url: server.redis.url }, { scriptCache });
        await gateway.open();
        // No text: most of these bytes are not UTF-8.
        const payload = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
        await publish(gateway, payload);
        const topics = [gateway.keys.topic('a')];
        const page = { meta: gateway.keys.logMeta, epoch: 'e1', limit: 9, bytes: 9_000 };
        const reply = await gateway.run(historyScript, { ...page, topics, after: [{ ms: 0, sequence: 0 }] });
        expect(reply).to.have.nested.property('entries.length', 1);
        expect(reply).to.have.deep.nested.property('entries[0].payload', payload);
      });
    }

    it('passes the run id of Redis to the scripts of the log', async () => {
      const gateway = make({ url: server.redis.url });
      await gateway.open();
      await publish(gateway);
      const info = await server.redis.admin.info('server');
      const runId = await server.redis.admin.hget(gateway.keys.logMeta, 'r');
      expect(info).to.include(`run_id:${runId ?? 'none'}`);
    });

    it('publishes to subscribers, and counts them', async () => {
      const gateway = make({ url: server.redis.url });
      await gateway.open();
      expect(await gateway.publish('nobody', 'x', 'classic')).to.equal(0);
    });

    it('copies the client of the application with any settings, and does not change it', async () => {
      const client = new Redis(server.redis.url, { commandTimeout: 77, connectionName: 'mine' });
      const before = { ...client.options };
      const gateway = make({ client });
      await gateway.open();
      expect((await count(gateway)).status).to.equal('OK');
      await gateway.close();
      expect(client.status).to.equal('ready');
      expect(client.options).to.deep.equal(before);
      expect(Object.keys(client).filter(key => key.startsWith('sse_'))).to.deep.equal([]);
      client.disconnect();
    });

    it('refuses a client with a keyPrefix, another object, and no address', async () => {
      const client = new Redis({ keyPrefix: 'p', lazyConnect: true });
      expect(() => make({ client }))
        .to.throw(SseError)
        .with.property('code', 'INVALID_OPTION');
      expect(() => make({ client: {} }))
        .to.throw(SseError)
        .with.property('code', 'INVALID_OPTION');
      expect(() => make({}))
        .to.throw(SseError)
        .with.property('code', 'INVALID_OPTION');
    });

    it('uses user, password and database of the address, and of the settings', async () => {
      await server.redis.admin.acl('SETUSER', 'ann', 'on', '>secret', '~*', '&*', '+@all');
      const url = server.redis.url.replace('//', '//ann:secret@');
      const inUrl = make({ url: `${url}/3` });
      await inUrl.open();
      await publish(inUrl);
      const third = server.redis.admin.duplicate({ db: 3 });
      expect(await third.exists(inUrl.keys.logMeta)).to.equal(1);
      third.disconnect();
      const inSettings = make({ url: server.redis.url, username: 'ann', password: 'secret' });
      await inSettings.open();
      const wrong = make({ url: server.redis.url, username: 'ann', password: 'wrong' });
      expect(await failure(wrong.open())).to.include({ code: 'INVALID_OPTION', retryable: false });
    });

    it('answers CLOSED after close, which twice is harmless', async () => {
      const gateway = make({ url: server.redis.url });
      await gateway.open();
      await gateway.close();
      await gateway.close();
      for (const call of [gateway.open(), count(gateway), gateway.publish('c', 'x', 'classic')]) {
        expect(await failure(call)).to.include({ code: 'CLOSED' });
      }
    });

    it('rejects at once what a key of another type prevents', async () => {
      const gateway = make({ url: server.redis.url });
      await gateway.open();
      await server.redis.admin.set(gateway.keys.logMeta, 'not a hash', 'PX', 5_000);
      const error = await failure(publish(gateway));
      expect(error).to.include({ code: 'UNAVAILABLE', noEffect: 'KEY_UNREADABLE', retryable: false });
      expect(error.cause).to.include({ name: 'ReplyError' });
    });
  });
});
