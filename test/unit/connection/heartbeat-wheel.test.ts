import { expect } from 'chai';
import sinon from 'sinon';
import { type Beating, HeartbeatWheel } from '../../../src/connection/timers.js';

describe('HeartbeatWheel', () => {
  let clock: sinon.SinonFakeTimers;
  let wheel: HeartbeatWheel;
  let beats: Map<number, number>;

  beforeEach(() => {
    clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'],
    });
    beats = new Map();
  });
  afterEach(() => {
    wheel.stop();
    clock.restore();
  });

  const connectionAt = (ordinal: number): Beating => ({
    ordinal,
    beat: () => beats.set(ordinal, (beats.get(ordinal) ?? 0) + 1),
  });
  const fill = (count: number): Beating[] => {
    const connections = Array.from({ length: count }, (_, index) => connectionAt(index + 1));
    for (const one of connections) wheel.add(one);
    return connections;
  };

  for (const interval of [10, 50, 75, 130, 1000, 30_000]) {
    it(`visits each connection exactly once in each interval of ${interval} ms`, () => {
      wheel = new HeartbeatWheel(interval);
      const connections = fill(250);
      for (let round = 1; round <= 5; round += 1) {
        clock.tick(interval);
        expect(connections.map(({ ordinal }) => beats.get(ordinal))).to.deep.equal(Array<number>(250).fill(round));
      }
    });
  }

  it('spreads the connections evenly over the interval', () => {
    wheel = new HeartbeatWheel(30_000);
    fill(1200);
    const perTick: number[] = [];
    let before = 0;
    for (let tick = 0; tick < 120; tick += 1) {
      clock.tick(250);
      perTick.push(beats.size - before);
      before = beats.size;
    }
    expect(perTick).to.deep.equal(Array<number>(120).fill(10));
  });

  it('uses one timer for all connections', () => {
    wheel = new HeartbeatWheel(30_000);
    expect(clock.countTimers()).to.equal(0);
    fill(500);
    expect(clock.countTimers()).to.equal(1);
  });

  it('never visits a removed connection again', () => {
    wheel = new HeartbeatWheel(1000);
    const [first, second] = fill(2);
    clock.tick(1000);
    wheel.remove(first!);
    clock.tick(5000);
    expect([beats.get(first!.ordinal), beats.get(second!.ordinal)]).to.deep.equal([1, 6]);
    expect([...wheel.connections()].length).to.equal(1);
  });

  it('goes on when a connection removes itself and its neighbours while it is visited', () => {
    wheel = new HeartbeatWheel(50);
    const connections = fill(10);
    wheel.add({
      ordinal: 0,
      beat: () => {
        for (const one of connections) wheel.remove(one);
      },
    });
    clock.tick(200);
    expect([...wheel.connections()].length).to.equal(1);
    expect([...beats.values()]).to.deep.equal(Array<number>(10).fill(1));
  });

  it('counts a connection that is added twice once', () => {
    wheel = new HeartbeatWheel(1000);
    const one = connectionAt(1);
    wheel.add(one);
    wheel.add(one);
    clock.tick(1000);
    expect([[...wheel.connections()].length, beats.get(1)]).to.deep.equal([1, 1]);
  });

  it('leaves no timer when it is stopped, and visits no connection any more', () => {
    wheel = new HeartbeatWheel(1000);
    fill(10);
    wheel.stop();
    clock.tick(10_000);
    expect([clock.countTimers(), beats.size]).to.deep.equal([0, 0]);
  });

  it('does not keep the process alive', () => {
    clock.restore();
    wheel = new HeartbeatWheel(1000);
    const before = process.getActiveResourcesInfo().filter(name => name === 'Timeout').length;
    fill(3);
    const after = process.getActiveResourcesInfo().filter(name => name === 'Timeout').length;
    expect(after).to.equal(before);
  });
});
