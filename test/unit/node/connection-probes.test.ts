import { expect } from 'chai';
import type { LeakProbe } from '../../../src/contracts/self-check.js';
import { connectionProbes } from '../../../src/node/maintenance.js';
import { MemoryConnectionStore } from '../../../src/node/store.js';
import { Bench } from '../connection/connection-bench.js';

describe('connectionProbes', () => {
  let bench: Bench;
  let store: MemoryConnectionStore;

  beforeEach(() => {
    bench = new Bench({ heartbeat: 60_000 });
    store = new MemoryConnectionStore();
  });

  afterEach(() => {
    bench.stop();
  });

  const probe = (kind: string): LeakProbe => {
    const { environment } = bench;
    const found = connectionProbes({ store, environment }).find(one => one.kind === kind);
    if (found === undefined) throw new Error(`no probe for ${kind}`);
    return found;
  };

  it('suspect a timer that watches a connection which has ended', () => {
    const { connection } = bench.open();
    connection.cut('client');
    bench.environment.watchdog.watch(connection);
    expect(probe('timer').suspects()).to.deep.equal([connection]);
    probe('timer').release(connection);
    expect([...bench.environment.watchdog.connections()].length).to.equal(0);
  });

  it('suspect a heartbeat for a connection which has ended', () => {
    const { connection } = bench.open();
    connection.cut('client');
    bench.environment.wheel?.add(connection);
    expect(probe('heartbeat').suspects()).to.deep.equal([connection]);
    probe('heartbeat').release(connection);
    expect([...bench.environment.wheel!.connections()].length).to.equal(0);
  });

  it('suspect nothing of connections that live, and write nothing to them', () => {
    const { connection, sink } = bench.open();
    sink.block();
    connection.deliver({ bytes: Buffer.from('data: x\n\n') });
    store.add(connection);
    store.promote(connection);
    const before = sink.text;
    for (const kind of ['connection', 'timer', 'heartbeat']) {
      expect(probe(kind).suspects(), kind).to.deep.equal([]);
    }
    expect(sink.text).to.equal(before);
    expect(connection.state.kind).to.equal('open');
  });

  it('without heartbeats suspect no heartbeat', () => {
    const silent = new Bench();
    const kinds = connectionProbes({ store, environment: silent.environment }).map(one => one.kind);
    expect(kinds).to.deep.equal(['connection', 'timer']);
    silent.stop();
  });
});
