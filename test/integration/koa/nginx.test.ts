import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { until } from '../../support/until.js';

class StreamController {
  @SseEndpoint('/sse/:clientId')
  stream(): void {
    // Only held open.
  }
}

describe('behind nginx (which must be on PATH)', () => {
  let app: KoaApp;
  let nginx: ChildProcess | undefined;
  let folder: string;
  let port: number;

  before(async function () {
    if (!(await isInstalled())) {
      if (process.env['REQUIRE_NGINX'] === '1') throw new Error('nginx is not on PATH');
      this.skip();
    }
    app = await KoaApp.start({ controllers: [StreamController] });
    folder = await mkdtemp(join(tmpdir(), 'nginx-'));
    port = await freePort();
    await writeFile(join(folder, 'nginx.conf'), config(folder, port, app.port));
    nginx = spawn('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr'], { stdio: 'ignore' });
    const exited = once(nginx, 'exit').then(() => {
      throw new Error('nginx exited');
    });
    await Promise.race([until(() => answers(port), 'nginx'), exited]);
    exited.catch(() => undefined);
  });
  after(async () => {
    if (nginx === undefined) return;
    const exited = once(nginx, 'exit');
    nginx.kill();
    await exited;
    await rm(folder, { recursive: true });
    await app.close();
  });

  for (const version of ['default', '1.0', '1.1']) {
    const open = (id: string): Promise<EventStreamClient> =>
      EventStreamClient.open(`http://127.0.0.1:${port}/${version}/sse/${id}`);

    it(`events arrive one by one, proxy_http_version ${version}`, async () => {
      const client = await open('a');
      await client.event('connected');
      for (let number = 1; number <= 5; number += 1) {
        app.service.sendMessage('a', 'note', number);
        await until(() => client.data('note').length === number, `event ${number}`);
      }
      client.leave();
      await until(() => app.store.size === 0, 'the end');
    });

    it(`a stream that the server ends ends cleanly, proxy_http_version ${version}`, async () => {
      const client = await open('b');
      await client.event('connected');
      await app.service.closeConnection('b', 'enough');
      expect(await client.closeReason()).to.equal('enough');
      expect(await client.ended()).to.equal('clean');
    });

    it(`a client that leaves is noticed, proxy_http_version ${version}`, async () => {
      const client = await open('c');
      await client.event('connected');
      client.leave();
      await until(() => app.store.size === 0, 'the end');
      expect(app.errors).to.deep.equal([]);
    });
  }
});

async function isInstalled(): Promise<boolean> {
  try {
    await promisify(execFile)('nginx', ['-v']);
    return true;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function answers(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/ready`)).status === 204;
  } catch {
    return false;
  }
}

/** As distributions configure it: buffering on, nothing said about streams. */
function config(folder: string, port: number, upstream: number): string {
  const location = (path: string, more: string): string => `
    location /${path}/ { ${more} proxy_pass http://127.0.0.1:${upstream}/; }`;
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
daemon off;
master_process off;
pid ${folder}/nginx.pid;
events { worker_connections 64; }
http {
  access_log off;
  ${paths.map(path => `${path}_temp_path ${folder}/${path};`).join('\n  ')}
  server {
    listen 127.0.0.1:${port};
    location = /ready { return 204; }
    ${location('default', '')}
    ${location('1.0', 'proxy_http_version 1.0;')}
    ${location('1.1', 'proxy_http_version 1.1; proxy_set_header Connection "";')}
  }
}
`;
}
