import { expect } from 'chai';
import { ConsistencyTally } from '../../../../src/cluster/differences.js';
import type { RouteDifference, RoutePage } from '../../../../src/cluster/redis/route-comparison.js';
import { RouteGlance } from '../../../../src/cluster/redis/route-glance.js';
import { RecordingListener } from '../../../support/recording-listener.js';
import { scriptedNode } from '../../../support/redis/scripted-node.js';

const STRETCH = 500;
const DIFFERENCE = { kind: 'ghost', connectionId: 'x', token: 't' } as const;

describe('RouteGlance', () => {
  let listener: RecordingListener;
  let looked: Set<string>;
  let page: Partial<RoutePage>;
  let differences: RouteDifference[];
  let glance: RouteGlance;

  const look = (): Promise<boolean> => glance.run(new ConsistencyTally());
  const connect = (from: number, to: number): void => {
    for (let n = from; n < to; n += 1) listener.connections.set(`c${n}`, `t${n}`);
  };
  const end = (from: number, to: number): void => {
    for (let n = from; n < to; n += 1) listener.connections.delete(`c${n}`);
  };

  beforeEach(() => {
    listener = new RecordingListener();
    looked = new Set();
    page = {};
    differences = [];
    const node = scriptedNode(() => undefined, listener);
    glance = new RouteGlance(node, {
      connections: async (_partition, registered) => {
        expect(registered.length).to.be.within(1, STRETCH);
        for (const { connectionId } of registered) looked.add(connectionId);
        return differences;
      },
      routes: async (_partition, _offset, limit) => {
        const { size } = listener.connections;
        return { owned: size, all: size, indexed: size, length: limit, differences: [], ...page };
      },
    });
  });

  it('looks at every connection in as many looks as there are stretches', async () => {
    connect(0, 1_200);
    const sizes = [];
    for (let looks = 0; looks < 3; looks += 1) {
      expect(await look()).to.equal(true);
      sizes.push(looked.size);
    }
    expect(sizes).to.deep.equal([500, 1_000, 1_200]);
  });

  it('begins again where it began', async () => {
    connect(0, 600);
    await look();
    await look();
    looked.clear();
    await look();
    expect([...looked]).to.deep.equal(Array.from({ length: 500 }, (_, n) => `c${n + 100}`));
  });

  it('passes over no connection while others come and end', async () => {
    connect(0, 2_000);
    await look();
    end(0, 300);
    connect(2_000, 2_400);
    await look();
    end(1_200, 1_700);
    await look();
    await look();
    const all = [...listener.connections.keys()];
    expect(all.filter(id => !looked.has(id) && Number(id.slice(1)) < 2_000)).to.deep.equal([]);
  });

  it('looks at those that remain when nearly all have ended', async () => {
    connect(0, 2_000);
    await look();
    end(0, 1_990);
    looked.clear();
    await look();
    expect(looked.size).to.equal(10);
  });

  it('has nothing to look at without connections', async () => {
    expect(await look()).to.equal(true);
    expect(looked.size).to.equal(0);
  });

  it('sees that something is wrong by a connection without a route', async () => {
    connect(0, 3);
    differences = [DIFFERENCE];
    expect(await look()).to.equal(false);
  });

  const signs: readonly (readonly [string, Partial<RoutePage>])[] = [
    ['more routes than connections', { owned: 4 }],
    ['fewer routes than connections', { owned: 2 }],
    ['a route that the index does not have', { all: 4 }],
    ['an entry of the index that has no route', { indexed: 4 }],
    ['a route without a connection', { differences: [DIFFERENCE] }],
  ];
  for (const [sign, some] of signs) {
    it(`sees that something is wrong by ${sign}`, async () => {
      connect(0, 3);
      page = some;
      expect(await look()).to.equal(false);
    });
  }
});
