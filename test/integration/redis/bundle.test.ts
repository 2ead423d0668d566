import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { build, type Format } from 'esbuild';
import { withRedis } from '../../support/redis/with-redis.js';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));

/** An application: publishes, and prints with which coordinator and outcome. */
const PROGRAM = `
  import 'reflect-metadata';
  import { Container } from 'inversify';
  import { Redis } from 'ioredis';
  import { ClusterCoordinator, sseModule, SseService } from './dist/src/index.js';
  const { REDIS_URL: url, WITH_CLASS } = process.env;
  const container = new Container();
  container.load(sseModule({ redis: { url, ...(WITH_CLASS && { class: Redis }) } }));
  const sse = container.get(SseService);
  void sse.start()
    .then(() => sse.publish('news', 'note', 'hello'))
    .then(({ outcome }) => console.log(container.get(ClusterCoordinator).kind, outcome))
    .finally(() => sse.close());`;

/** What packages of CommonJS need in a bundle of ES modules; the documentation of esbuild has it. */
const REQUIRE = `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`;

describe('a single-file bundle', () => {
  const server = withRedis();
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sse-bundle-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const bundle = async (format: Format, contents = PROGRAM): Promise<string> => {
    const outfile = join(folder, format === 'esm' ? 'bundle.mjs' : 'bundle.cjs');
    await build({
      stdin: { contents, resolveDir: ROOT },
      bundle: true,
      platform: 'node',
      format,
      outfile,
      logLevel: 'silent',
      ...(format === 'esm' && { banner: { js: REQUIRE } }),
    });
    return outfile;
  };
  const outputOf = async (file: string, env: NodeJS.ProcessEnv): Promise<string> => {
    const { stdout, stderr } = await run(process.execPath, [file], { cwd: folder, env });
    expect(stderr).to.equal('');
    return stdout.trim();
  };

  for (const format of ['esm', 'cjs'] as const) {
    it(`as ${format} runs alone and with Redis, away from every package`, async () => {
      const file = await bundle(format);
      expect(await outputOf(file, {})).to.equal('local stored');
      const REDIS_URL = server.redis.url;
      expect(await outputOf(file, { REDIS_URL })).to.equal('redis stored');
      expect(await outputOf(file, { REDIS_URL, WITH_CLASS: '1' })).to.equal('redis stored');
      expect(await readFile(file, 'utf8')).to.include("redis.call('TIME')");
    });
  }
});
