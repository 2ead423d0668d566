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
  const ask = (topics: readonly string[]) => {
    const { keys } = registry().bench;
    return gateway().run(unreadableScript, { meta: keys.logMeta, topics: topics.map(topic => keys.topic(topic)) });
  };

  it('names the keys of another type, and no key that can be read or is not there', async () => {
    const { keys } = registry().bench;
    const { stream, last } = keys.topic('a');
    const other = keys.topic('b');
    for (const key of [stream, last, other.last, keys.logMeta]) registry().bench.tombstones.add(key);
    await admin().set(stream, 'x');
    await admin().set(last, 'x');
    await admin().hset(other.last, 'x', 'y');
    await admin().hset(keys.logMeta, 'e', 'e1');
    expect(await ask(['a', 'b', 'c'])).to.deep.equal({ status: 'OK', unreadable: [stream, other.last] });
    await admin().del(keys.logMeta);
    await admin().set(keys.logMeta, 'x');
    expect(await ask([])).to.deep.equal({ status: 'OK', unreadable: [keys.logMeta] });
  });

  it('is asked about 32 topics at most', async () => {
    const topics = Array.from({ length: 33 }, (_, n) => `${n}`);
    expect(await ask(topics)).to.deep.equal({ status: 'LIMIT' });
    expect(await ask(topics.slice(1))).to.deep.equal({ status: 'OK', unreadable: [] });
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
