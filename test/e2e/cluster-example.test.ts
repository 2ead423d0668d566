import { chmod, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { ChildProgram } from '../support/child-program.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { withRedis } from '../support/redis/with-redis.js';

const EXAMPLE = 'examples/02-cluster/main.js';

describe('examples/02-cluster', () => {
  const redis = withRedis();
  let program: ChildProgram | undefined;
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sse-path-'));
  });
  afterEach(async () => {
    program?.process.kill('SIGTERM');
    await program?.exited;
    await rm(folder, { recursive: true, force: true });
  });

  /** A program on the PATH that does what a shell script says. */
  const put = async (name: string, script: string): Promise<void> => {
    await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(folder, name), 0o755);
  };
  const urls = async (started: ChildProgram): Promise<readonly [string, string, string]> => {
    const [, a = ''] = await started.printed(/(http\S+)\/sse\/connect\/me/);
    const [, b = ''] = await started.printed(/'(http\S+)\/sse\/send\/me'/);
    const [, c = ''] = await started.printed(/(http\S+)\/sse\/connections/);
    for (const node of ['a', 'b', 'c']) await started.printed(new RegExp(`node=${node} `));
    return [a, b, c];
  };
  /** What the README shows: a client of one node, a send from another, the count of the third. */
  const show = async (started: ChildProgram): Promise<void> => {
    const [a, b, c] = await urls(started);
    const client = await EventStreamClient.open(`${a}/sse/connect/me`);
    await client.event('connected');
    const response = await fetch(`${b}/sse/send/me`, { method: 'POST', body: 'hello' });
    expect(await response.json()).to.include({ outcome: 'delivered', nodeId: 'a' });
    expect((await client.event('message')).data).to.equal('hello');
    expect(await (await fetch(`${c}/sse/connections`)).json()).to.deep.equal({
      local: 0,
      cluster: 1,
      nodes: { a: 1, b: 0, c: 0 },
    });
    client.leave();
  };

  it('starts a Redis and three nodes by one command, and ends them all', async () => {
    program = ChildProgram.start(EXAMPLE, { PORT: '0' });
    await show(program);
    expect(await program.stop('SIGTERM')).to.equal(0);
  });

  it('takes a container where there is no redis-server', async () => {
    await symlink('/bin/sh', join(folder, 'sh'));
    const server = '/usr/bin/env -i PATH="$REAL_PATH" redis-server --save "" --bind 127.0.0.1';
    await put(
      'docker',
      `port=\${4#127.0.0.1:}; port=\${port%:6379}\n[ "$5" = redis:7-alpine ] && exec ${server} --port $port`,
    );
    const REAL_PATH = process.env['PATH'] ?? '';
    program = ChildProgram.start(EXAMPLE, { PORT: '0', PATH: folder, REAL_PATH });
    const [, port = ''] = await program.printed(/three nodes meet in redis:\/\/127\.0\.0\.1:(\d+);/);
    expect(program.output).to.include('redis-server did not start');
    const admin = new Redis(Number(port));
    expect(await admin.ping()).to.equal('PONG');
    admin.disconnect();
    expect(await program.stop('SIGTERM')).to.equal(0);
  });

  it('says what is missing where neither can start one', async () => {
    const missing = ChildProgram.start(EXAMPLE, { PORT: '0', PATH: join(folder, 'nothing') });
    await put('docker', 'echo "Cannot connect to the Docker daemon" >&2; exit 1');
    const broken = ChildProgram.start(EXAMPLE, { PORT: '0', PATH: folder });
    for (const failed of [missing, broken]) {
      expect(await failed.exited).to.equal(1);
      expect(failed.output).to.match(/neither redis-server nor docker .* set REDIS_URL\n/);
    }
  });

  it('uses the Redis that REDIS_URL names', async () => {
    const REDIS_URL = redis.redis.url;
    program = ChildProgram.start(EXAMPLE, { PORT: '0', PATH: folder, REDIS_URL });
    await show(program);
    expect(program.output).to.include(`three nodes meet in ${REDIS_URL};`);
  });
});
