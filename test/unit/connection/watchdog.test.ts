import { expect } from 'chai';
import sinon from 'sinon';
import { Watchdog, type Watched } from '../../../src/connection/scheduler.js';

/** A connection with waiting bytes until a test changes that. */
class WaitingConnection implements Watched {
  readonly looks: number[] = [];
  waiting = true;
  expiredAt: number | undefined;

  checkStall(now: number): boolean {
    this.looks.push(now);
    return this.waiting;
  }

  expire(): void {
    this.expiredAt = Date.now();
  }
}

describe('Watchdog', () => {
  let clock: sinon.SinonFakeTimers;
  let watchdog: Watchdog;

  beforeEach(() => {
    clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
  });
  afterEach(() => {
    watchdog.stop();
    clock.restore();
  });

  it('starts no timer before the first connection, and one for all', () => {
    watchdog = new Watchdog(30_000, 60_000);
    expect(clock.countTimers()).to.equal(0);
    for (let index = 0; index < 100; index += 1) {
      watchdog.watch(new WaitingConnection());
      watchdog.age(new WaitingConnection());
    }
    expect(clock.countTimers()).to.equal(1);
  });

  it('checks a waiting connection until no byte waits', () => {
    watchdog = new Watchdog(30_000, false);
    const connection = new WaitingConnection();
    watchdog.watch(connection);
    clock.tick(3000);
    expect(connection.looks).to.deep.equal([1000, 2000, 3000]);
    connection.waiting = false;
    clock.tick(5000);
    expect(connection.looks).to.have.length(4);
    expect([...watchdog.connections()].length).to.equal(0);
  });

  it('looks more often when the limit is short', () => {
    watchdog = new Watchdog(400, false);
    const connection = new WaitingConnection();
    watchdog.watch(connection);
    clock.tick(400);
    expect(connection.looks).to.have.length(8);
  });

  it('looks no more often than every 20 ms', () => {
    watchdog = new Watchdog(1, false);
    const connection = new WaitingConnection();
    watchdog.watch(connection);
    clock.tick(100);
    expect(connection.looks).to.have.length(5);
  });

  it('closes each connection at its own age', () => {
    watchdog = new Watchdog(30_000, 60_000);
    const connections = Array.from({ length: 5 }, () => {
      const connection = new WaitingConnection();
      watchdog.age(connection);
      clock.tick(10_000);
      return connection;
    });
    clock.tick(60_000);
    expect(connections.map(({ expiredAt }) => expiredAt)).to.deep.equal([60_000, 70_000, 80_000, 90_000, 100_000]);
    expect([...watchdog.connections()].length).to.equal(0);
  });

  it('knows no age when there is no limit', () => {
    watchdog = new Watchdog(30_000, false);
    const connection = new WaitingConnection();
    watchdog.age(connection);
    clock.tick(1e9);
    expect([connection.expiredAt, [...watchdog.connections()].length, clock.countTimers()]).to.deep.equal([
      undefined,
      0,
      0,
    ]);
  });

  it('forgets a connection entirely', () => {
    watchdog = new Watchdog(30_000, 60_000);
    const connection = new WaitingConnection();
    watchdog.watch(connection);
    watchdog.age(connection);
    watchdog.forget(connection);
    clock.tick(100_000);
    expect([connection.looks, connection.expiredAt, [...watchdog.connections()].length]).to.deep.equal([
      [],
      undefined,
      0,
    ]);
  });

  it('forgets only the age of a connection that is closing', () => {
    watchdog = new Watchdog(30_000, 60_000);
    const connection = new WaitingConnection();
    watchdog.watch(connection);
    watchdog.age(connection);
    watchdog.forgetAge(connection);
    clock.tick(100_000);
    expect([connection.looks.length, connection.expiredAt]).to.deep.equal([100, undefined]);
  });

  it('leaves no timer when it is stopped, and closes no connection any more', () => {
    watchdog = new Watchdog(30_000, 60_000);
    const connection = new WaitingConnection();
    watchdog.watch(connection);
    watchdog.age(connection);
    watchdog.stop();
    clock.tick(100_000);
    expect([
      clock.countTimers(),
      [...watchdog.connections()].length,
      connection.looks,
      connection.expiredAt,
    ]).to.deep.equal([0, 0, [], undefined]);
  });
});
