import { expect } from 'chai';
import type { Redis } from 'ioredis';
import sinon from 'sinon';
import { AnswerTimeout } from '../../../../src/cluster/redis/client.js';

describe('the time limit of commands', () => {
  let clock: sinon.SinonFakeTimers;
  let connection: { stream: Redis['stream'] };
  let timeout: AnswerTimeout;

  beforeEach(() => {
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    connection = { stream: socket() };
    timeout = new AnswerTimeout(connection);
  });

  afterEach(() => clock.restore());

  function socket(): Redis['stream'] {
    // A command's time limit needs no more of a socket.
    return { bytesRead: 0, destroy: sinon.spy() } as unknown as Redis['stream'];
  }

  function send() {
    const rejected = sinon.spy();
    const command = { isResolved: false, reject: rejected as (error: Error) => void };
    timeout.add(command);
    return Object.assign(command, { rejected });
  }

  /** The sockets are read. */
  const read = () => new Promise(resolve => setImmediate(resolve));

  async function pass(ms: number): Promise<void> {
    for (let gone = 0; gone < ms; gone += 50) {
      clock.tick(50);
      await read();
    }
  }

  const closed = ({ stream }: typeof connection) => (stream.destroy as sinon.SinonSpy).called;
  const hear = (bytes = 10) =>
    void Object.assign(connection.stream, { bytesRead: connection.stream.bytesRead + bytes });

  it('rejects each that has no answer after a second, and no other', async () => {
    const [answered, first] = [send(), send()];
    await pass(500);
    answered.isResolved = true;
    const second = send();
    await pass(450);
    expect(first.rejected.called).to.equal(false);
    await pass(50);
    expect(first.rejected.callCount).to.equal(1);
    expect(second.rejected.called).to.equal(false);
    await pass(500);
    expect(second.rejected.callCount).to.equal(1);
    expect(answered.rejected.called).to.equal(false);
  });

  it('reads first the answers that came while the event loop stood still', async () => {
    const [answered, unanswered] = [send(), send()];
    clock.jump(6_000);
    await read();
    expect(unanswered.rejected.called).to.equal(false);
    answered.isResolved = true;
    hear();
    await pass(100);
    expect(answered.rejected.called).to.equal(false);
    expect(unanswered.rejected.callCount).to.equal(1);
    expect(closed(connection)).to.equal(false);
  });

  it('closes no socket because of a command that Redis refused', async () => {
    const refused = send();
    await pass(500);
    hear();
    refused.reject(new Error('ERR unknown subcommand'));
    await pass(9_000);
    expect(closed(connection)).to.equal(false);
  });

  it('ends a command after a second that was refused, since it may wait to be sent to another master', async () => {
    const moved = send();
    moved.reject(new Error('MOVED 1 127.0.0.1:7001'));
    await pass(1_000);
    expect(moved.rejected.callCount).to.equal(2);
  });

  it('closes a socket without a byte for five seconds while a command waits', async () => {
    send();
    await pass(4_950);
    expect(closed(connection)).to.equal(false);
    await pass(50);
    expect(closed(connection)).to.equal(true);
    expect(clock.countTimers()).to.equal(0);
  });

  it('closes no socket on which bytes come, however late', async () => {
    send();
    await pass(4_950);
    hear();
    await pass(10_000);
    expect(closed(connection)).to.equal(false);
    send();
    await pass(1_000);
    clock.jump(60_000);
    hear();
    await pass(10_000);
    expect(closed(connection)).to.equal(false);
  });

  it('does not close the socket that followed one that broke while a command waited', async () => {
    send();
    await pass(2_000);
    connection.stream = socket();
    await pass(2_000);
    const late = send();
    await pass(3_000);
    expect(late.rejected.callCount).to.equal(1);
    expect(closed(connection)).to.equal(false);
    await pass(2_000);
    expect(closed(connection)).to.equal(true);
  });
});
