import { expect } from 'chai';
import { lockScript } from '../../../src/cluster/redis/scripts.js';
import { withRegistry } from '../../support/redis/with-registry.js';

describe('lock.lua', () => {
  const { gateway, registry, admin } = withRegistry();
  const key = (): string => registry().bench.keys.lock('thing');
  const ask = (holder: string, ms: number) => gateway().run(lockScript, { lock: key(), holder, ms });
  // Removed with everything else at the end.
  beforeEach(() => registry().bench.tombstones.add(key()));

  it('gives a free lock to the first caller, for its time', async () => {
    expect(await ask('a', 50_000)).to.deep.equal({ status: 'HELD', holder: 'a' });
    expect(await admin().pttl(key())).to.be.within(40_000, 50_000);
  });

  it('leaves a lock to its holder', async () => {
    await ask('a', 50_000);
    expect(await ask('b', 500_000)).to.deep.equal({ status: 'HELD', holder: 'a' });
    expect(await admin().pttl(key())).to.be.within(40_000, 50_000);
  });

  it('is prolonged by acquiring it again', async () => {
    await ask('a', 50_000);
    expect(await ask('a', 500_000)).to.deep.equal({ status: 'HELD', holder: 'a' });
    expect(await admin().pttl(key())).to.be.within(450_000, 500_000);
  });

  it('is given up by its holder alone', async () => {
    await ask('a', 50_000);
    expect(await ask('b', -1)).to.deep.equal({ status: 'HELD', holder: 'a' });
    expect(await ask('a', -1)).to.deep.equal({ status: 'FREE' });
    expect(await ask('b', 50_000)).to.deep.equal({ status: 'HELD', holder: 'b' });
  });

  it('only names the holder when it is asked for no time', async () => {
    expect(await ask('a', 0)).to.deep.equal({ status: 'FREE' });
    expect(await admin().exists(key())).to.equal(0);
    await ask('a', 50_000);
    expect(await ask('a', 0)).to.deep.equal({ status: 'HELD', holder: 'a' });
    expect(await admin().pttl(key())).to.be.within(40_000, 50_000);
  });
});
