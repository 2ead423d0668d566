import { expect } from 'chai';
import { accessScript, revocationsScript, revokeScript, unreadableScript } from '../../../src/cluster/redis/scripts.js';
import { withRegistry } from '../../support/redis/with-registry.js';
import { needsVersion } from '../../support/redis/with-redis.js';

const KEPT_MS = 60_000;

describe('revoke.lua and revocations.lua', () => {
  const { gateway, registry, admin } = withRegistry();
  const key = (): string => registry().bench.keys.logMarks;
  const revoke = (mark: string, most: number) =>
    gateway().run(revokeScript, { marks: key(), mark: Buffer.from(mark), most, ms: KEPT_MS });
  const read = async (after: string, limit: number) =>
    (await gateway().run(revocationsScript, { marks: key(), after, limit })).marks;
  // Removed with everything else at the end.
  beforeEach(() => registry().bench.tombstones.add(key()));

  it('keep marks for a time, which are read in their order, each once', async () => {
    for (const mark of ['1', '2', '3']) expect(await revoke(mark, 100)).to.deep.equal({ status: 'OK' });
    expect(await admin().pttl(key())).to.be.within(1, KEPT_MS);
    const page = await read('0-0', 2);
    expect(page.map(({ mark }) => String(mark))).to.deep.equal(['1', '2']);
    const rest = await read(page[1]?.id ?? '', 2);
    expect(rest.map(({ mark }) => String(mark))).to.deep.equal(['3']);
  });

  it('read 500 marks at a time, and keep about as many as wanted', async () => {
    await Promise.all(Array.from({ length: 600 }, (_, n) => revoke(`${n}`, 1_000)));
    expect(await read('0-0', 9_999)).to.have.length(500);
    await revoke('last', 100);
    expect(await admin().xlen(key())).to.be.within(100, 300);
  });
});

describe('unreadable.lua', () => {
  const { gateway, registry, admin } = withRegistry();
  type Type = 'hash' | 'stream' | 'string';
  const ask = (suspects: readonly (readonly [string, Type])[]) =>
    gateway().run(unreadableScript, { key: suspects.map(([key]) => key), type: suspects.map(([, type]) => type) });

  it('names the keys of another type, and no key that can be read or is not there', async () => {
    const { keys } = registry().bench;
    const key = (name: string): string => keys.topic(name).stream;
    for (const name of ['hash', 'stream', 'string']) registry().bench.tombstones.add(key(name));
    await admin().hset(key('hash'), 'f', 'v');
    await admin().xadd(key('stream'), '*', 'f', 'v');
    await admin().set(key('string'), 'v');
    for (const type of ['hash', 'stream', 'string'] as const) {
      const others = ['hash', 'stream', 'string'].filter(name => name !== type);
      const suspects = ['hash', 'stream', 'nothing', 'string'].map(name => [key(name), type] as const);
      expect(await ask(suspects)).to.deep.equal({ status: 'OK', unreadable: others.map(key) });
    }
  });

  it('is asked about 100 keys at most', async () => {
    const { keys } = registry().bench;
    const suspects = Array.from({ length: 101 }, (_, n) => [keys.topic(`${n}`).stream, 'stream'] as const);
    expect(await ask(suspects)).to.deep.equal({ status: 'LIMIT' });
    expect(await ask(suspects.slice(1))).to.deep.equal({ status: 'OK', unreadable: [] });
  });
});

describe('access.lua', () => {
  const { gateway, registry, admin } = withRegistry();
  before(function () {
    needsVersion(this, 7, 'Redis can say what a user may');
  });

  it('names the commands that the user may not run, and those that Redis does not know', async () => {
    const permissions = ['~getdel', '&publish', '+ping', '~nonsense', '+config|get', '+config|set'];
    const ask = () => gateway().run(accessScript, { key: registry().bench.keys.logMeta, channel: 'c', permissions });
    expect(await ask()).to.deep.equal({ status: 'OK', refused: ['~nonsense'] });
    await admin().call('ACL', 'SETUSER', 'default', '-getdel', '-config|set', 'resetchannels');
    try {
      expect(await ask()).to.deep.equal({ status: 'OK', refused: ['~getdel', '&publish', '~nonsense', '+config|set'] });
    } finally {
      await admin().call('ACL', 'SETUSER', 'default', '+@all', '&*');
    }
  });
});
