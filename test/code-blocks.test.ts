import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { build } from 'esbuild';
import type { Browser } from 'playwright-core';
import { format } from 'prettier';
import type { ProgramRun } from './support/block-runner.js';
import { describeInBrowser } from './support/browser.js';
import { ChildProgram } from './support/child-program.js';
import {
  codeBlocks,
  compileBlocks,
  compiledFile,
  nameOf,
  syntaxErrors,
  type CodeBlock,
} from './support/code-blocks.js';
import { withRedis } from './support/redis/with-redis.js';
import { until } from './support/until.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...['docs', 'examples'].flatMap(folder =>
    readdirSync(ROOT + folder, { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.md') && !/^(api|bench)\/|node_modules/.test(name))
      .map(name => `${folder}/${name}`)
      .sort(),
  ),
];
/** Pages of docs in which facts are looked up; the others are guides. */
const REFERENCES = ['comparison', 'compatibility', 'log', 'other-clients', 'redis', 'reference', 'speed'].map(
  name => `docs/${name}.md`,
);
const MARKS = ['', 'fragment', 'browser'];
const STREAM = { accept: 'text/event-stream' };

type Proxy = readonly [language: string, program: string, wrap: (code: string) => string, ...argv: string[]];

/** How each proxy checks a configuration without serving it. */
const PROXIES: readonly Proxy[] = [
  [
    'nginx',
    'nginx',
    code => `pid nginx.pid; events {} http { ${code} }`,
    '-t',
    '-p',
    '.',
    '-c',
    'config',
    '-e',
    'stderr',
  ],
  ['haproxy', 'haproxy', code => code, '-c', '-f', 'config'],
  ['caddyfile', 'caddy', code => code, 'validate', '--adapter', 'caddyfile', '--config', 'config'],
];

const blocks = PAGES.flatMap(page => codeBlocks(page, readFileSync(ROOT + page, 'utf8')));
const code = blocks.filter(({ language }) => ['ts', 'tsx', 'js'].includes(language));
const fragments = code.filter(({ mark }) => mark === 'fragment');
const programs = code.filter(({ mark }) => mark !== 'fragment');

describe('the code blocks of README and docs', () => {
  it('are whole, or marked as a fragment; at most half of them are fragments', () => {
    expect(code.filter(({ mark }) => !MARKS.includes(mark)).map(nameOf)).to.deep.equal([]);
    expect(fragments.length, fragments.map(nameOf).join('\n')).to.be.at.most(code.length / 2);
  });

  it('begin with a program in each guide', () => {
    const guides = PAGES.filter(page => page.startsWith('docs/') && !REFERENCES.includes(page));
    expect(guides).to.have.length.greaterThan(15);
    const firsts = guides.map(page => blocks.find(block => block.page === page));
    const others = guides.filter((_, index) => {
      const first = firsts[index];
      return first === undefined || !programs.includes(first);
    });
    expect(others).to.deep.equal([]);
  });

  it('parse, those that are fragments', () => {
    const errors = fragments.flatMap(block => syntaxErrors(block).map(error => `${nameOf(block)} ${error}`));
    expect(errors).to.deep.equal([]);
  });

  it('parse, those of JSON and YAML', async () => {
    for (const block of blocks.filter(({ language }) => ['json', 'yaml'].includes(language))) {
      await format(block.code, { parser: block.language }).catch((error: unknown) =>
        expect.fail(`${nameOf(block)} ${String(error)}`),
      );
    }
  });

  for (const [language, program, wrap, ...argv] of PROXIES) {
    const test = isInstalled(program) ? it : it.skip;
    test(`are taken by ${program}, those that configure it (where it is on the PATH)`, async () => {
      const configurations = blocks.filter(block => block.language === language);
      expect(configurations).to.not.have.length(0);
      const folder = await mkdtemp(join(tmpdir(), 'proxy-'));
      for (const block of configurations) {
        // The nodes of the guide have names that no machine knows.
        await writeFile(join(folder, 'config'), wrap(block.code.replace(/\bnode-[ab]:/g, '127.0.0.1:')));
        await promisify(execFile)(program, argv, { cwd: folder }).catch((error: unknown) =>
          expect.fail(`${nameOf(block)} ${String(error)}`),
        );
      }
      await rm(folder, { recursive: true });
    });
  }

  it('parse, those of a shell', async () => {
    const shells = blocks.filter(({ language }) => language === 'sh');
    expect(shells).to.not.have.length(0);
    await Promise.all(
      shells.map(block =>
        promisify(execFile)('bash', ['-n', '-c', block.code]).catch((error: unknown) =>
          expect.fail(`${nameOf(block)} ${String(error)}`),
        ),
      ),
    );
  });
});

describe('the programs of README and docs', () => {
  const server = withRedis();
  const started = new Map<CodeBlock, number>();
  let runner: ChildProgram;
  let compiled: readonly string[];

  before(async () => {
    compiled = await compileBlocks(programs);
    runner = ChildProgram.start('test/support/block-runner.js', {
      REDIS_URL: server.redis.url,
      OTEL_SDK_DISABLED: 'true',
    });
  });

  after(async () => {
    await runner.stop('SIGKILL');
  });

  it('compile strictly against the package', () => {
    expect(compiled.join('\n')).to.equal('');
  });

  for (const block of programs.filter(({ mark }) => mark === '')) {
    it(`${nameOf(block)} runs`, async () => {
      const { ports, errors } = await runner.ask<ProgramRun>({ path: compiledFile(block).href });
      expect(errors).to.deep.equal([]);
      const [port] = ports;
      if (port !== undefined) {
        started.set(block, port);
        await tryServer(block, port);
      }
      const after = await runner.ask<ProgramRun>({});
      expect(after.errors).to.deep.equal([]);
      const promised = [...block.code.matchAll(/\/\/ prints (.+)$/gm)].map(([, text = '']) => text);
      await until(
        async () => {
          const { printed } = await runner.ask<ProgramRun>({});
          return promised.every(text => printed.includes(text));
        },
        `the program to print ${promised.join(', ')}`,
      );
    });
  }

  describeInBrowser('in a page', chromium => {
    for (const block of programs.filter(({ mark }) => mark === 'browser')) {
      it(`${nameOf(block)} runs`, () => tryPage(chromium.browser, block, portFor(block)));
    }
  });

  /** The program of the same page before it that listens, else the quick start. */
  function portFor(block: CodeBlock): number {
    const servers = [...started].filter(([{ page, line }]) => page === block.page && line < block.line);
    const [, port] = servers.at(-1) ?? [...started][0] ?? expect.fail('no program listens');
    return port;
  }
});

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some(folder => existsSync(join(folder, program)));
}

/** Runs the `curl` of the shell blocks that follow a program, else opens its endpoints. */
async function tryServer(block: CodeBlock, port: number): Promise<void> {
  const commands = commandsAfter(block).map(command =>
    command.replaceAll(/(127\.0\.0\.1|localhost):3000/g, `$1:${port}`),
  );
  if (commands.length > 0) return tryCommands(commands);
  const prefix = /SseController\('([^']+)'/.exec(block.code)?.[1] ?? '';
  const paths = [...block.code.matchAll(/SseEndpoint\('([^']+)'/g)].map(([, path = '']) => prefix + path);
  expect(paths, 'endpoints to open, or a curl for 127.0.0.1:3000 in a shell block below').to.not.have.length(0);
  for (const path of paths) {
    const response = await fetch(`http://127.0.0.1:${port}${path.replaceAll(/:\w+/g, 'me')}`, { headers: STREAM });
    expect(response.status, path).to.equal(200);
    const first = (await response.body?.getReader().read()) as { readonly value?: Uint8Array } | undefined;
    expect(new TextDecoder().decode(first?.value)).to.include('event: connected');
  }
}

/** Lines of `curl` between a program and the next one of its page. */
function commandsAfter(block: CodeBlock): string[] {
  const below = blocks.filter(({ page, line }) => page === block.page && line > block.line);
  const end = below.findIndex(other => other.code.includes('.listen('));
  return below
    .slice(0, end < 0 ? undefined : end)
    .filter(({ language }) => language === 'sh')
    .flatMap(({ code: text }) => text.replaceAll('\\\n', ' ').split('\n'))
    .filter(line => /^curl .*(127\.0\.0\.1|localhost):3000/.test(line));
}

/** Streams stay open until all are done. A status that is no success must stand in the comment of its line. */
async function tryCommands(commands: readonly string[]): Promise<void> {
  const streams: ChildProcess[] = [];
  try {
    for (const command of commands) {
      const refused = / # .*\b[45]\d\d\b/.test(command);
      const script = command.replace(/^curl/, 'exec curl --silent --show-error --fail-with-body');
      const child = spawn('bash', ['-c', script]);
      let output = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (output += String(chunk)));
      const exit = once(child, 'exit') as Promise<[number | null]>;
      if (/ (-N|--no-buffer)\b/.test(command) && !refused) {
        streams.push(child);
        await Promise.race([exit, until(() => output.includes('event: '), `an event of ${command}`)]);
        expect(child.exitCode, `${command}\n${output}`).to.equal(null);
      } else expect((await exit)[0], `${command}\n${output}`).to.equal(refused ? 22 : 0);
    }
  } finally {
    for (const stream of streams) stream.kill();
  }
}

/** Runs a program in a page of the server, and wants an open stream and no errors. */
async function tryPage(browser: Browser, block: CodeBlock, port: number): Promise<void> {
  const file = compiledFile(block);
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(file)],
    bundle: true,
    format: 'esm',
    define: { 'process.env.NODE_ENV': '"production"' },
    write: false,
  });
  const page = await browser.newPage();
  try {
    const errors: string[] = [];
    page.on('pageerror', error => errors.push(error.message));
    const origin = `http://127.0.0.1:${port}`;
    await page.route(`${origin}/`, route =>
      route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>x</title><div id="root"></div>' }),
    );
    await page.goto(origin);
    const opened = page.waitForResponse(response => response.headers()['content-type'] === 'text/event-stream');
    await page.addScriptTag({ type: 'module', content: outputFiles[0]?.text ?? '' });
    expect((await opened).status()).to.equal(200);
    expect(errors).to.deep.equal([]);
  } finally {
    await page.close();
  }
}
