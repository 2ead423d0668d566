import { expect } from 'chai';
import { publishUnkeptScript } from '../../../src/cluster/redis/scripts.js';
import { codeOf, failureOf } from '../../support/code-of.js';
import { withRegistry } from '../../support/redis/with-registry.js';
import { until } from '../../support/until.js';

describe('publish-unkept.lua', () => {
  const { gateway, registry, admin } = withRegistry();
  const mark = (): string => registry().bench.keys.unkeptMark('a', 'k');
  const publish = (frame: string | Buffer, channel = registry().bench.keys.topicChannel('a')) =>
    gateway().run(publishUnkeptScript, {
      mark: mark(),
      frame: Buffer.from(frame),
      pubCommand: 'PUBLISH',
      channel,
      ms: 50_000,
    });
  // Removed with everything else at the end.
  beforeEach(() => registry().bench.tombstones.add(mark()));

  /** What comes while something is done; it ends with a publication of its own. */
  const framesDuring = async (work: () => Promise<unknown>): Promise<Buffer[]> => {
    const channel = registry().bench.keys.topicChannel('a');
    const frames: Buffer[] = [];
    const listener = admin().duplicate();
    listener.on('messageBuffer', (_channel, frame: Buffer) => frames.push(frame));
    try {
      await listener.subscribe(channel);
      await work();
      await admin().publish(channel, 'end');
      await until(() => frames.at(-1)?.toString() === 'end', 'the end');
    } finally {
      listener.disconnect();
    }
    return frames.slice(0, -1);
  };

  it('publishes the bytes as they are, and once for each key', async () => {
    const bytes = Buffer.from([0, 32, 255, 10]);
    const frames = await framesDuring(async () => {
      expect(await publish(bytes)).to.deep.equal({ status: 'NEW' });
      expect(await publish('again')).to.deep.equal({ status: 'KNOWN' });
    });
    expect(frames).to.deep.equal([bytes]);
  });

  it('knows the key for its time', async () => {
    await publish('x');
    expect(await admin().pttl(mark())).to.be.within(40_000, 50_000);
  });

  it('neither publishes nor marks when Redis is out of memory', async () => {
    const frames = await framesDuring(async () => {
      await admin().config('SET', 'maxmemory', '1');
      try {
        const refused = { code: 'UNAVAILABLE', noEffect: 'WRITES_REFUSED' };
        expect(await failureOf(publish('x'))).to.include(refused);
      } finally {
        await admin().config('SET', 'maxmemory', '0');
      }
      expect(await admin().exists(mark())).to.equal(0);
    });
    expect(frames).to.deep.equal([]);
  });

  it('leaves no mark when the account may not publish there', async () => {
    await admin().acl('SETUSER', 'default', 'resetchannels', '&mine');
    try {
      expect(await codeOf(publish('x'))).to.equal('INTERNAL');
      expect(await admin().exists(mark())).to.equal(0);
      expect(await publish('x', 'mine')).to.deep.equal({ status: 'NEW' });
    } finally {
      await admin().acl('SETUSER', 'default', 'allchannels');
    }
  });
});
