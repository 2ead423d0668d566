import { randomBytes } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import type { ConnectionSink, SinkListener } from '../../contracts/connection.js';
import { expect } from './expect.js';
import type { TestRunner } from './runner.js';
import { until } from './until.js';

/** The client's end of a sink. */
export interface SinkClient {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** What came of the body, one character per byte. */
  readonly body: string;
  /** The response ended as its protocol has it. */
  readonly ended: boolean;
  /** The response ended, one way or the other. */
  readonly gone: boolean;
  /** Reads no more until {@link resume}. */
  pause(): void;
  resume(): void;
  /** Leaves politely. */
  leave(): void;
  /** Leaves with a TCP reset. */
  reset(): void;
}

/** A sink with its client, over a real socket. */
export interface SinkPair<Client extends SinkClient = SinkClient> {
  readonly sink: ConnectionSink;
  readonly client: Client;
  close(): Promise<void>;
}

// Random, since a compressed stream must fill the same buffers.
const MEBIBYTE = randomBytes(1024 * 1024);
// More than the buffers of any operating system between the two ends.
const MOST_WRITES = 64;

/** Counts what a sink reports. */
export class CountingListener implements SinkListener {
  drains = 0;
  closes = 0;

  onDrain(): void {
    this.drains += 1;
  }

  onClose(): void {
    this.closes += 1;
  }
}

/**
 * What every `ConnectionSink` does.
 * @param runner the functions of the application's test runner
 * @param open makes a sink whose client waits for its response
 * @param encoding how it compresses
 */
export function connectionSinkContract(
  runner: TestRunner,
  name: string,
  open: () => Promise<SinkPair>,
  encoding?: 'br' | 'gzip',
): void {
  const { describe, it, beforeEach, afterEach } = runner;
  describe(`ConnectionSink contract: ${name}`, () => {
    let pair: SinkPair;
    let listener: CountingListener;

    beforeEach(async () => {
      pair = await open();
      listener = new CountingListener();
    });
    afterEach(() => pair.close());

    const attach = (): void => {
      pair.sink.attach(listener);
    };
    const attachAndOpen = (): void => {
      attach();
      pair.sink.open();
    };
    /** Writes as a connection does. */
    const write = (bytes: Buffer): boolean => pair.sink.write(pair.sink.encode?.(bytes) ?? bytes);
    /** Resolves when the end was reported and had time to be reported twice. */
    const closed = async (): Promise<void> => {
      await until(() => listener.closes > 0, 'onClose');
      for (let round = 0; round < 5; round += 1) await turn();
    };
    /** Writes until the sink asks to wait. Returns the bytes written. */
    const fill = (): number => {
      for (let writes = 1; writes <= MOST_WRITES; writes += 1) {
        if (!write(MEBIBYTE)) return writes * MEBIBYTE.length;
      }
      throw new Error(`${MOST_WRITES} MiB were taken without a pause`);
    };

    it('sends the head of an event stream', async () => {
      attachAndOpen();
      await until(() => pair.client.status !== undefined, 'the head');
      expect(pair.client.status).to.equal(200);
      expect(pair.client.headers).to.include({
        'content-type': 'text/event-stream',
        'cache-control': 'no-store, no-transform',
        'x-accel-buffering': 'no',
      });
      expect(pair.client.headers['content-encoding']).to.equal(encoding);
      expect(pair.client.headers).to.not.have.property('content-length');
    });

    it('delivers what is written, in order and byte for byte', async () => {
      attachAndOpen();
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
      write(bytes);
      write(Buffer.from('next'));
      await until(() => pair.client.body.length >= 260, 'the bytes');
      expect(pair.client.body).to.equal(`${bytes.toString('latin1')}next`);
    });

    for (const opened of [false, true]) {
      const when = opened ? 'after the head' : 'before the head';

      it(`reports a client that leaves ${when}, once`, async () => {
        if (opened) attachAndOpen();
        else attach();
        pair.client.leave();
        await closed();
        expect(listener.closes).to.equal(1);
        expect(pair.sink.closed).to.equal(true);
      });

      it(`reports a TCP reset ${when}, once`, async () => {
        if (opened) attachAndOpen();
        else attach();
        pair.client.reset();
        await closed();
        expect(listener.closes).to.equal(1);
        expect(pair.sink.closed).to.equal(true);
      });
    }

    it('reports its own end, once', async () => {
      attachAndOpen();
      pair.sink.end();
      await closed();
      expect(listener.closes).to.equal(1);
      expect(pair.client.ended).to.equal(true);
    });

    it('reports its own destruction, once', async () => {
      attachAndOpen();
      pair.sink.destroy();
      await closed();
      expect(listener.closes).to.equal(1);
      await until(() => pair.client.gone, 'the client to notice');
    });

    it('reports a client that left before, asynchronously and once', async () => {
      pair.client.reset();
      await until(() => pair.sink.closed, 'the reset');
      attach();
      expect(listener.closes).to.equal(0);
      await closed();
      expect(listener.closes).to.equal(1);
    });

    it('asks to wait when the client does not read, and keeps the written bytes', async () => {
      attachAndOpen();
      await until(() => pair.client.status !== undefined, 'the head');
      pair.client.pause();
      fill();
      expect(pair.sink.pendingBytes).to.be.greaterThan(0);
      expect(listener.drains).to.equal(0);
    });

    it('reports when writing may go on', async () => {
      attachAndOpen();
      await until(() => pair.client.status !== undefined, 'the head');
      pair.client.pause();
      const written = fill();
      pair.client.resume();
      await until(() => listener.drains > 0, 'onDrain');
      await until(() => pair.client.body.length === written, 'every byte');
      expect(pair.sink.pendingBytes).to.equal(0);
    });

    it('counts in pendingBytes no more than was written', async () => {
      attachAndOpen();
      await until(() => pair.client.status !== undefined, 'the head');
      pair.client.pause();
      const written = fill();
      // Each mebibyte may have a few bytes of the protocol around it.
      expect(pair.sink.pendingBytes).to.be.at.most(written + MOST_WRITES * 16);
    });

    it('ends only when every written byte has left', async () => {
      attachAndOpen();
      await until(() => pair.client.status !== undefined, 'the head');
      pair.client.pause();
      const written = fill();
      write(Buffer.from('last'));
      pair.sink.end();
      pair.client.resume();
      await until(() => pair.client.gone, 'the end');
      expect(pair.client.body.length).to.equal(written + 4);
      expect(pair.client.body.endsWith('last')).to.equal(true);
      expect(pair.client.ended).to.equal(true);
    });

    it('cuts a client that does not read', async () => {
      attachAndOpen();
      await until(() => pair.client.status !== undefined, 'the head');
      pair.client.pause();
      fill();
      pair.sink.destroy();
      await closed();
      expect(listener.closes).to.equal(1);
    });

    it('cuts an end that the client blocks', async () => {
      attachAndOpen();
      await until(() => pair.client.status !== undefined, 'the head');
      pair.client.pause();
      fill();
      pair.sink.end();
      pair.sink.destroy();
      await closed();
      expect(listener.closes).to.equal(1);
    });

    it('writes nothing after its end', async () => {
      attachAndOpen();
      write(Buffer.from('first'));
      pair.sink.end();
      pair.sink.open();
      write(Buffer.from('second'));
      pair.sink.end();
      await until(() => pair.client.gone, 'the end');
      expect(pair.client.body).to.equal('first');
      expect(pair.client.ended).to.equal(true);
    });

    it('is closed as soon as it is ended', () => {
      attachAndOpen();
      expect(pair.sink.closed).to.equal(false);
      pair.sink.end();
      expect(pair.sink.closed).to.equal(true);
    });

    it('does nothing when its client is gone, and does not throw', async () => {
      attach();
      pair.client.reset();
      await closed();
      pair.sink.open();
      expect(pair.sink.write(Buffer.from('late'))).to.equal(true);
      pair.sink.end();
      pair.sink.destroy();
      for (let round = 0; round < 5; round += 1) await turn();
      expect(listener).to.deep.equal(Object.assign(new CountingListener(), { closes: 1 }));
    });

    it('does nothing after its destruction, and does not throw', async () => {
      attachAndOpen();
      pair.sink.destroy();
      expect(pair.sink.write(Buffer.from('late'))).to.equal(true);
      pair.sink.end();
      pair.sink.destroy();
      await closed();
      expect(listener.closes).to.equal(1);
    });
  });
}
