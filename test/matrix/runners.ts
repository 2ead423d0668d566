import ts from 'typescript';
import { type Application, type Cell, javaScriptOf, type Workshop } from './workshop.js';

const COLUMN = 'the quick start';
const NPM_INSTALL = ['npm', 'install', '--no-audit', '--no-fund'] as const;

type Packages = Readonly<Record<string, string>>;
type Serve = (application: Application, quickStart: string) => Promise<void>;

/** Ways to run a program in TypeScript or in another module system. */
export function runners(workshop: Workshop): Cell[] {
  const cell = (row: string, packages: Packages, serve: Serve, short = false): Cell => ({
    row,
    column: COLUMN,
    short,
    test: () => installAndRun(workshop, row, packages, serve),
  });
  return [
    cell('Node', {}, serveNode, true),
    cell('CommonJS, by `require`', {}, serveCommonJs, true),
    { row: 'Node, which removes types', column: COLUMN, test: 'it does not compile decorators' },
    cell('tsx', { tsx: '*' }, application => application.serves(['npx', 'tsx', 'main.ts'])),
    cell('swc', { '@swc/core': '*' }, serveSwc),
    cell('esbuild, in one file', { esbuild: '*' }, serveEsbuild),
    cell('vitest, with `distributed-sse/testing`', { vitest: '*' }, runVitest),
  ];
}

/** The oldest versions in the ranges of the peers, beside the newest of the others. */
export function peers(workshop: Workshop): Cell[] {
  const older: Packages = { inversify: '7.5.0', koa: '2.15.0', ioredis: '5.9.3', '@opentelemetry/api': '1.9.0' };
  const types: Packages = { koa: '2.15.0' };
  return Object.entries(older).map(([name, version]) => ({
    row: `${name} ${version}`,
    column: COLUMN,
    test: () => {
      const typesOfIt = types[name];
      const packages = { [name]: version, ...(typesOfIt !== undefined && { [`@types/${name}`]: typesOfIt }) };
      return installAndRun(workshop, `${name} ${version}`, packages, serveNode);
    },
  }));
}

async function installAndRun(workshop: Workshop, name: string, packages: Packages, serve: Serve): Promise<void> {
  const application = await workshop.application(name, {
    'package.json': workshop.manifest(packages),
    'main.ts': workshop.quickStart,
    'tsconfig.json': { compilerOptions: { experimentalDecorators: true } },
  });
  await application.run(NPM_INSTALL);
  await serve(application, workshop.quickStart);
}

async function serveNode(application: Application, quickStart: string): Promise<void> {
  await application.write({ 'main.js': javaScriptOf(quickStart) });
  await application.serves([process.execPath, 'main.js']);
}

async function serveCommonJs(application: Application, quickStart: string): Promise<void> {
  await application.write({ 'main.cjs': javaScriptOf(quickStart, ts.ModuleKind.CommonJS) });
  await application.serves([process.execPath, 'main.cjs']);
}

async function serveSwc(application: Application): Promise<void> {
  const script = `
    import { transformFile } from '@swc/core';
    import { writeFileSync } from 'node:fs';
    const parser = { syntax: 'typescript', decorators: true };
    const transform = { legacyDecorator: true };
    const { code } = await transformFile('main.ts', { jsc: { parser, transform, target: 'es2022' } });
    writeFileSync('main.js', code);`;
  await application.write({ 'compile.js': script });
  await application.run([process.execPath, 'compile.js']);
  await application.serves([process.execPath, 'main.js']);
}

/** In a folder without packages, so that everything is in the file. */
async function serveEsbuild(application: Application): Promise<void> {
  const require = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";
  const options = ['--bundle', '--platform=node', '--format=esm', `--banner:js=${require}`, '--outfile=main.mjs'];
  await application.run(['npx', 'esbuild', 'main.ts', ...options]);
  await application.run(['rm', '-rf', 'node_modules']);
  await application.serves([process.execPath, 'main.mjs']);
}

async function runVitest(application: Application): Promise<void> {
  await application.write({
    'cluster.test.ts': `import 'reflect-metadata';
      import { MemoryConnectionStore } from 'distributed-sse';
      import { connectionStoreContract, createTestCluster } from 'distributed-sse/testing';
      import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, test } from 'vitest';
      const runner = { describe, it, beforeEach, afterEach, before: beforeAll, after: afterAll };
      connectionStoreContract(runner, 'a store', () => new MemoryConnectionStore());
      test('an event comes to a client of another node', async () => {
        const cluster = await createTestCluster({ nodes: 2 });
        const client = await cluster.connect('me', { node: 'a' });
        await cluster.node('b').sse.sendMessageToConnection('me', 'note', 'hello');
        expect((await client.next('note')).data).toBe('hello');
        await cluster.close();
      });`,
  });
  await application.run(['npx', 'vitest', 'run']);
}
