import { expect } from 'chai';
import sinon from 'sinon';
import { Reconciler } from '../../../../src/cluster/redis/reconcile.js';
import type { ReconcileReport } from '../../../../src/contracts/self-check.js';
import { RecordingListener } from '../../../support/recording-listener.js';
import { scriptedNode } from '../../../support/redis/scripted-node.js';
import { until } from '../../../support/until.js';

const STRETCH = 500;
const ONLY_COMPARE = { scope: 'node', maxRepairs: 0, settle: 0, sample: 0, notify: false } as const;

interface Counts {
  readonly owned: number;
  readonly all: number;
  readonly indexed: number;
}

const LEASE = { gen: '1', epoch: 'e' };

describe('Reconciler, comparing a node at rest', () => {
  let listener: RecordingListener;
  let compared: Set<string>;
  let calls: number;
  let counts: Partial<Counts>;
  let states: string[];
  let ghosts: { readonly conn: string; readonly tok: string }[];
  let reconciler: Reconciler;

  const connect = (from: number, to: number): void => {
    for (let n = from; n < to; n += 1) listener.connections.set(`c${n}`, `t${n}`);
  };
  const end = (from: number, to: number): void => {
    for (let n = from; n < to; n += 1) listener.connections.delete(`c${n}`);
  };
  const reconcile = (): Promise<ReconcileReport> => {
    calls = 0;
    return reconciler.reconcile(ONLY_COMPARE);
  };
  /** The first comparison is a full one. */
  const rest = async (): Promise<void> => {
    expect((await reconcile()).found).to.deep.equal({});
    compared.clear();
  };
  /** Whether nothing differs as far as two calls show. */
  const isWell = async (): Promise<boolean> => {
    const { unknown } = await reconcile();
    expect(unknown).to.equal(undefined);
    return calls <= 2;
  };

  beforeEach(() => {
    listener = new RecordingListener();
    compared = new Set();
    counts = {};
    states = [];
    ghosts = [];
    const answers = (script: string, request: Record<string, unknown>): unknown => {
      calls += 1;
      if (script === 'refresh') {
        expect(request['ttlMs']).to.equal(0);
        const connections = request['connections'] as readonly { readonly conn: string }[];
        expect(connections.length).to.be.within(1, STRETCH);
        for (const { conn } of connections) compared.add(conn);
        return { status: 'OK', now: 1, states: connections.map((_, at) => states[at] ?? 'mine') };
      }
      const { offset, limit } = request as { offset: number; limit: number };
      const { size } = listener.connections;
      const all = [...listener.connections].map(([conn, tok]) => ({ conn, tok }));
      const connections = [...ghosts, ...all].slice(offset, offset + limit);
      return { status: 'OK', owned: size, all: size, indexed: size, ...counts, connections };
    };
    const no = (): never => {
      throw new Error('a comparison must not do that');
    };
    reconciler = new Reconciler(scriptedNode(answers, listener), {
      leases: { leaseOf: () => LEASE, reopen: no, isSteady: () => true, troubleOf: () => undefined },
      registry: { find: no, restore: no, unregister: no, counters: { renewAll: no } },
      expiry: { reap: no },
      notify: no,
    });
  });

  it('compares every connection in as many calls as there are stretches', async () => {
    connect(0, 1_200);
    await rest();
    const sizes = [];
    for (let n = 0; n < 3; n += 1) {
      expect(await isWell()).to.equal(true);
      sizes.push(compared.size);
    }
    expect(sizes).to.deep.equal([500, 1_000, 1_200]);
  });

  it('begins again where it began', async () => {
    connect(0, 600);
    await rest();
    await reconcile();
    await reconcile();
    compared.clear();
    await reconcile();
    expect([...compared]).to.deep.equal(Array.from({ length: 500 }, (_, n) => `c${n + 100}`));
  });

  it('passes over no connection while others come and end', async () => {
    connect(0, 2_000);
    await rest();
    await reconcile();
    end(0, 300);
    connect(2_000, 2_400);
    await reconcile();
    end(1_200, 1_700);
    await reconcile();
    await reconcile();
    const all = [...listener.connections.keys()];
    expect(all.filter(id => !compared.has(id) && Number(id.slice(1)) < 2_000)).to.deep.equal([]);
  });

  it('compares those that remain when nearly all have ended', async () => {
    connect(0, 2_000);
    await rest();
    await reconcile();
    end(0, 1_990);
    compared.clear();
    await reconcile();
    expect(compared.size).to.equal(10);
  });

  it('has nothing to compare without connections', async () => {
    await rest();
    expect(await isWell()).to.equal(true);
    expect(compared.size).to.equal(0);
    expect(calls).to.equal(1);
  });

  it('compares everything after a connection without a route', async () => {
    connect(0, 3);
    await rest();
    states = ['missing'];
    expect(await isWell()).to.equal(false);
  });

  it('compares everything once more after a comparison that found something', async () => {
    connect(0, 3);
    await rest();
    states = ['missing'];
    expect((await reconcile()).found).to.deep.equal({ 'missing-route': 1 });
    states = [];
    connect(3, 201);
    expect(await isWell()).to.equal(false);
    expect(await isWell()).to.equal(true);
  });

  const signs: readonly (readonly [string, Partial<Counts>])[] = [
    ['more routes than connections', { owned: 4 }],
    ['fewer routes than connections', { owned: 2 }],
    ['a route that the index does not have', { all: 4 }],
    ['an entry of the index that has no route', { indexed: 4 }],
  ];
  for (const [sign, some] of signs) {
    it(`compares everything after ${sign}`, async () => {
      connect(0, 3);
      await rest();
      counts = some;
      expect(await isWell()).to.equal(false);
    });
  }

  it('compares everything after a route without a connection', async () => {
    connect(0, 3);
    await rest();
    // The counts agree, since a route is missing as well.
    ghosts = [{ conn: 'a', tok: 't' }];
    expect(await isWell()).to.equal(false);
  });
});

describe('Reconciler, renewing the routes of a node', () => {
  let listener: RecordingListener;
  let routes: { readonly conn: string; readonly tok: string }[];
  let refreshed: number;
  let reopened: number;
  let lost: boolean;
  let ended: number;
  let reconciler: Reconciler;

  beforeEach(() => {
    listener = new RecordingListener();
    routes = [];
    refreshed = 0;
    reopened = 0;
    lost = false;
    ended = 0;
    const answers = (script: string, request: Record<string, unknown>): unknown => {
      if (script === 'refresh') {
        expect(request['ttlMs']).to.be.greaterThan(0);
        refreshed += 1;
        const connections = request['connections'] as readonly unknown[];
        return lost ? { status: 'LOST' } : { status: 'OK', states: connections.map(() => 'mine') };
      }
      const { offset, limit } = request as { offset: number; limit: number };
      const connections = routes.slice(offset, offset + limit);
      if (connections.length < limit) ended += 1;
      const { length } = routes;
      return { status: 'OK', owned: length, all: length, indexed: length, connections };
    };
    reconciler = new Reconciler(scriptedNode(answers, listener), {
      leases: {
        leaseOf: () => LEASE,
        reopen: async () => {
          reopened += 1;
          lost = false;
        },
        isSteady: () => true,
        troubleOf: () => undefined,
      },
      registry: {
        counters: { renewAll: async () => undefined },
        find: async () => undefined,
        restore: async () => true,
        unregister: async (connectionId: string) => {
          const at = routes.findIndex(({ conn }) => conn === connectionId);
          if (at >= 0) routes.splice(at, 1);
          return at >= 0;
        },
      },
      expiry: { reap: async () => 0 },
      notify: async () => undefined,
    });
    reconciler.renewal.start();
  });

  afterEach(() => reconciler.renewal.stop());

  it('removes every route without a connection, however many pages there are', async () => {
    for (let n = 0; n < 1_000; n += 1) {
      routes.push({ conn: `c${n}`, tok: 't' });
      if (n % 3 === 0) listener.connections.set(`c${n}`, 't');
    }
    reconciler.renewal.runWithin(0);
    await until(() => ended > 0, 'the last page');
    await until(() => routes.length === listener.connections.size, 'the ghosts to be removed');
    expect(ended).to.equal(1);
  });

  it('renews again after it has reopened a lease that was lost', async () => {
    listener.connections.set('c', 't');
    lost = true;
    reconciler.renewal.runWithin(0);
    await until(() => refreshed === 2, 'the second renewal');
    expect(reopened).to.equal(1);
  });

  it('renews once more for calls that come meanwhile, and not once for each', async () => {
    listener.connections.set('c', 't');
    reconciler.renewal.runWithin(0);
    await until(() => refreshed === 1, 'the first renewal');
    for (let n = 0; n < 5; n += 1) reconciler.renewal.runWithin(0);
    await until(() => refreshed === 2, 'the second renewal');
    await until(() => ended === 2, 'its end');
    expect(refreshed).to.equal(2);
  });

  it('does nothing after its end', async () => {
    listener.connections.set('c', 't');
    reconciler.renewal.stop();
    const clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      reconciler.renewal.runWithin(0);
      await clock.tickAsync(60_000);
    } finally {
      clock.restore();
    }
    expect(refreshed).to.equal(0);
  });
});
