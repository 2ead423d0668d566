import { constants } from 'node:http2';
import { expect } from 'chai';
import type { ConnectionSink } from '../../src/contracts/connection.js';
import { openHttp1, openHttp2 } from '../support/sink-pair.js';
import { until } from '../support/until.js';
import { connectionSinkContract } from '../../src/testing/contracts/connection-sink.js';
import { MOCHA } from '../support/runner.js';

connectionSinkContract(MOCHA, 'SocketSink over HTTP/1.1', () => openHttp1(false));
connectionSinkContract(MOCHA, 'SocketSink over HTTP/1.1, detach: false', () => openHttp1(false, false));
connectionSinkContract(MOCHA, 'SocketSink over HTTPS/1.1', () => openHttp1(true));
connectionSinkContract(MOCHA, 'CompressingSink, gzip', () => openHttp1(false, 'auto', 'gzip'), 'gzip');
connectionSinkContract(MOCHA, 'CompressingSink, br', () => openHttp1(false, 'auto', 'br'), 'br');
connectionSinkContract(MOCHA, 'ResponseSink over HTTP/2', () => openHttp2(false));
connectionSinkContract(MOCHA, 'ResponseSink over HTTP/2 with TLS', () => openHttp2(true));

describe('ResponseSink', () => {
  const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;
  for (const code of [NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR]) {
    it(`reports a stream that the client resets with code ${code}, once`, async () => {
      const pair = await openHttp2(false);
      const { sink, client } = pair;
      try {
        let closes = 0;
        sink.attach({ onDrain: () => undefined, onClose: () => (closes += 1) });
        sink.open();
        await until(() => client.status !== undefined, 'the head');
        client.resetStream(code);
        await until(() => closes > 0, 'onClose');
        expect(sink.closed).to.equal(true);
        expect(closes).to.equal(1);
      } finally {
        await pair.close();
      }
    });
  }

  it('leaves the session to the other streams when it is destroyed', async () => {
    const pair = await openHttp2(false);
    const { sink, client } = pair;
    try {
      attachQuietly(sink);
      sink.open();
      await until(() => client.status !== undefined, 'the head');
      sink.destroy();
      await until(() => client.gone, 'the end of the stream');
      expect(client.sessionClosed).to.equal(false);
    } finally {
      await pair.close();
    }
  });
});

function attachQuietly(sink: ConnectionSink): void {
  sink.attach({ onDrain: () => undefined, onClose: () => undefined });
}
