import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import { EventSource } from 'eventsource';
import { connect as connectClient } from '../../src/client/index.js';
import { DemoProcess } from '../support/demo-process.js';
import { StreamReader } from '../support/stream-reader.js';
import { until } from '../support/until.js';

const QUICK = { SSE_RECONNECT_RETRY: '200', SSE_RECONNECT_JITTER: '100' };
const TEXT = { 'Content-Type': 'text/plain' };

describe('real clients', () => {
  let demo: DemoProcess;

  before(async function () {
    this.timeout(60_000);
    demo = await DemoProcess.start(QUICK);
  });
  afterEach(async () => {
    const count = async (): Promise<number> => {
      const response = await fetch(`${demo.url}/sse/connections`);
      return ((await response.json()) as { local: number }).local;
    };
    await until(async () => (await count()) === 0, 'every client to be gone');
  });
  after(() => demo.stop('SIGKILL'));

  const send = (id: string, event: string, body: string): Promise<Response> =>
    fetch(`${demo.url}/sse/send/${id}?event=${event}`, { method: 'POST', headers: TEXT, body });
  const connected = async (id: string): Promise<boolean> => {
    const response = await fetch(`${demo.url}/sse/connections/${id}`).catch(() => undefined);
    return response?.status === 200;
  };
  const restart = async (signal: NodeJS.Signals): Promise<void> => {
    const { port } = demo;
    await demo.stop(signal);
    demo = await DemoProcess.start({ PORT: port, ...QUICK });
  };

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    it(`npm eventsource receives and comes back after a restart by ${signal}`, async () => {
      const source = new EventSource(`${demo.url}/sse/connect/es?topics=a`);
      const received: string[] = [];
      const resets: string[] = [];
      source.addEventListener('note', ({ data }) => received.push(data as string));
      source.addEventListener('sse.reset', ({ data }) => resets.push(data as string));
      try {
        await until(() => connected('es'), 'the connection');
        await send('es', 'note', 'before');
        await restart(signal);
        await until(() => connected('es'), 'the reconnection');
        await send('es', 'note', 'after');
        await until(() => received.length === 2, 'both events');
        expect(received).to.deep.equal(['before', 'after']);
        // Its last id is from before the restart, so it gets a reset.
        expect(resets.map(data => (JSON.parse(data) as { reason: string }).reason)).to.deep.equal(['EPOCH']);
      } finally {
        source.close();
      }
    });
  }

  it('the client of this package comes back after a restart, and reports the gap before what follows it', async () => {
    const stream = connectClient(`${demo.url}/sse/connect/own?topics=a`, { delay: 100 });
    const received: string[] = [];
    stream.on('note', data => received.push(String(data)));
    stream.onGap(({ reason }) => received.push(reason));
    try {
      await until(() => stream.state.kind === 'open', 'the connection');
      await send('own', 'note', 'before');
      await restart('SIGKILL');
      await until(() => stream.state.kind === 'open', 'the reconnection');
      await send('own', 'note', 'after');
      await until(() => received.length === 3, 'both events and the gap');
      // Its last id is from before the restart.
      expect(received).to.deep.equal(['before', 'EPOCH', 'after']);
    } finally {
      stream.close();
    }
  });

  it('npm eventsource gets every event published while it was disconnected', async () => {
    const source = new EventSource(`${demo.url}/sse/connect/es?topics=a`);
    const received: string[] = [];
    source.addEventListener('note', ({ data }) => received.push(data as string));
    try {
      await until(() => connected('es'), 'the connection');
      const sent: string[] = [];
      for (let number = 0; number < 60; number += 1) {
        if (number % 20 === 10) await fetch(`${demo.url}/sse/connections/es`, { method: 'DELETE' });
        sent.push(String(number));
        await fetch(`${demo.url}/sse/topics/a?event=note`, {
          method: 'POST',
          headers: TEXT,
          body: String(number),
        });
      }
      await until(() => received.length >= sent.length, 'all events');
      expect(received).to.deep.equal(sent);
    } finally {
      source.close();
    }
  });

  it('a fetch reader receives, sees the end of a drain, and connects again', async () => {
    const reader = await StreamReader.open(`${demo.url}/sse/connect/f`);
    await reader.event('connected');
    await send('f', 'note', 'a\nb');
    expect((await reader.event('note')).data).to.equal('a\nb');
    await restart('SIGTERM');
    await reader.end();
    expect(reader.events.at(-1)?.event).to.equal('sse.closed');
    const again = await StreamReader.open(`${demo.url}/sse/connect/f`);
    await again.event('connected');
    again.close();
  });

  it('curl receives, and its stream ends cleanly when the server closes it', async () => {
    const curl = spawn('curl', ['-sN', '--http1.1', `${demo.url}/sse/connect/curl`]);
    let output = '';
    curl.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const exited = once(curl, 'exit') as Promise<[number]>;
    await until(() => connected('curl'), 'the connection');
    await send('curl', 'note', 'hello');
    await until(() => output.includes('event: note\ndata: hello\n\n'), 'the event');
    await fetch(`${demo.url}/sse/connections/curl`, { method: 'DELETE' });
    expect((await exited)[0]).to.equal(0);
    expect(output).to.match(/event: sse\.closed\ndata: \{"reason":"closed"\}\n\n$/);
  });
});
