import { expect } from 'chai';
import sinon from 'sinon';
import { type Beating, HeartbeatWheel } from '../../../src/connection/scheduler.js';

describe('HeartbeatWheel', () => {
  let clock: sinon.SinonFakeTimers;
  let wheel: HeartbeatWheel;
  let beats: Map<number, number>;

  beforeEach(() => {
    clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
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

  for (const interval of [20, 75, 1000, 30_000]) {
    it(`visits each connection again after 80 to 90 % of ${interval} ms`, () => {
      wheel = new HeartbeatWheel(interval);
      const times = new Map<number, number[]>();
      for (let ordinal = 0; ordinal < 250; ordinal += 1) {
        times.set(ordinal, [performance.now()]);
        wheel.add({ ordinal, beat: () => times.get(ordinal)?.push(performance.now()) });
      }
      clock.tick(6 * interval);
      const [longest, shortest] = [interval * 0.9 + 1, interval * 0.8];
      for (const [opened, first, ...others] of times.values()) {
        expect(others.length).to.be.at.least(5);
        expect((first ?? Infinity) - (opened ?? 0)).to.be.at.most(longest);
        let former = first ?? 0;
        for (const time of others) {
          expect(time - former).to.be.within(shortest, longest);
          former = time;
        }
      }
    });
  }

  it('visits a connection in time when its timer is late each time', () => {
    wheel = new HeartbeatWheel(30_000);
    const times = [performance.now()];
    wheel.add({ ordinal: 7, beat: () => times.push(performance.now()) });
    for (let turn = 0; turn < 600; turn += 1) {
      clock.jump(265);
    }
    for (const [index, time] of times.slice(1).entries()) expect(time - (times[index] ?? 0)).to.be.at.most(27_300);
  });

  it('spreads the connections over the interval', () => {
    wheel = new HeartbeatWheel(30_000);
    fill(1200);
    let [before, most] = [0, 0];
    for (let tick = 0; tick < 120; tick += 1) {
      clock.tick(250);
      most = Math.max(most, beats.size - before);
      before = beats.size;
    }
    expect([beats.size, most]).to.deep.equal([1200, 20]);
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
    clock.tick(900);
    const visited = beats.get(first!.ordinal);
    wheel.remove(first!);
    clock.tick(5000);
    expect(beats.get(first!.ordinal)).to.equal(visited);
    expect(beats.get(second!.ordinal)).to.be.at.least(6);
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
    clock.tick(900);
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
