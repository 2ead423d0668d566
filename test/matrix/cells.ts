import { dirname } from 'node:path';
import { peers, runners } from './runners.js';
import { COMPILERS, NODES, type NodeVersion, type Tools } from './tools.js';
import { type Application, type Cell, type Command, type Files, javaScriptOf, type Workshop } from './workshop.js';

/** A table of the page. */
export interface Table {
  readonly title: string;
  readonly cells: readonly Cell[];
}

/** The test kit, whose client is the one of browsers, against two nodes of which one is killed. */
const KIT = `import 'reflect-metadata';
  import { createTestCluster } from 'distributed-sse/testing';
  const cluster = await createTestCluster({ nodes: 2 });
  const client = await cluster.connect('me', { node: 'a', topics: ['news'] });
  cluster.kill('a');
  await cluster.node('b').sse.publish('news', 'note', 1);
  const { data } = await client.next('note');
  await cluster.close();
  if (data !== 1 || client.gaps.length > 0) throw new Error('the client missed something');`;

/** What the types of the quick start need. */
const TYPES = { '@types/node': '^20', '@types/koa': '^3' };

/** Every table, in the order of the page. */
export function tables(workshop: Workshop, tools: Tools): readonly Table[] {
  return [
    { title: 'Package managers and Node', cells: managers(workshop, tools) },
    { title: 'TypeScript', cells: compilers(workshop) },
    { title: 'Runners and bundlers', cells: runners(workshop) },
    { title: 'Peers', cells: peers(workshop) },
  ];
}

interface Manager {
  readonly files?: Files;
  /** @param node the Node that runs the package manager */
  install(node: string): Command;
  /** How the program is run; default: by Node. */
  run?(node: string): Command;
}

function managers(workshop: Workshop, tools: Tools): Cell[] {
  const pnpm = tools.manager('pnpm/bin/pnpm.cjs');
  const classic = tools.manager('yarn/bin/yarn.js');
  const berry = tools.manager('@yarnpkg/cli-dist/bin/yarn.js');
  const rows: Readonly<Record<string, Manager>> = {
    npm: { files: { '.npmrc': 'engine-strict=true\n' }, install: () => ['npm', 'install', '--no-audit', '--no-fund'] },
    'pnpm, strict engines and peers': {
      files: { 'pnpm-workspace.yaml': 'engineStrict: true\nstrictPeerDependencies: true\n' },
      install: node => [node, pnpm, 'install', '--no-frozen-lockfile'],
    },
    'Yarn classic': { install: node => [node, classic, 'install', '--non-interactive', '--no-lockfile'] },
    'Yarn, node_modules': {
      files: { '.yarnrc.yml': 'nodeLinker: node-modules\nenableGlobalCache: true\n', 'yarn.lock': '' },
      install: node => [node, berry, 'install', '--no-immutable'],
    },
    'Yarn, Plug’n’Play': {
      files: { '.yarnrc.yml': 'nodeLinker: pnp\nenableGlobalCache: true\n', 'yarn.lock': '' },
      install: node => [node, berry, 'install', '--no-immutable'],
      run: node => [node, berry, 'node', 'main.js'],
    },
  };
  return Object.entries(rows).flatMap(([row, manager]) =>
    NODES.map(version => ({
      row,
      column: `Node ${version}`,
      test: () => installAndServe(`${row} ${version}`, manager, version),
    })),
  );

  async function installAndServe(name: string, manager: Manager, version: NodeVersion): Promise<void> {
    const application = await workshop.application(name, {
      'package.json': workshop.manifest(),
      'main.js': javaScriptOf(workshop.quickStart),
      'kit.js': KIT,
      ...manager.files,
    });
    const node = tools.node(version);
    // What a package manager starts finds this Node, too.
    const env = { PATH: `${dirname(node)}:${process.env['PATH'] ?? ''}`, YARN_IGNORE_NODE: '1' };
    // Two of Yarn classic at once would break each other's cache.
    if (name.startsWith('Yarn classic')) Object.assign(env, { YARN_CACHE_FOLDER: `${application.folder}-cache` });
    await application.run(manager.install(node), env);
    await application.serves(manager.run?.(node) ?? [node, 'main.js'], env);
    if (manager.run === undefined) await application.run([node, 'kit.js'], env);
  }
}

/** How TypeScript finds packages, and the first version that has it. */
const RESOLUTIONS = {
  NodeNext: { since: 5.4, options: { module: 'nodenext' } },
  node20: { since: 5.9, options: { module: 'node20' } },
  bundler: { since: 5.4, options: { module: 'esnext', moduleResolution: 'bundler' } },
};

function compilers(workshop: Workshop): Cell[] {
  return COMPILERS.flatMap(version =>
    Object.entries(RESOLUTIONS).map(([column, { since, options }]): Cell => {
      const newest = version === COMPILERS.at(-1);
      const test =
        Number(version) < since
          ? `TypeScript has it from ${since}`
          : async (): Promise<void> => {
              const application = await typedApplication(workshop, `typescript ${version} ${column}`, options);
              await application.run(['npm', 'install', '--no-audit', '--no-fund', `typescript@~${version}`]);
              await compiles(application);
            };
      return { row: `TypeScript ${version}`, column, short: newest && column === 'NodeNext', test };
    }),
  );
}

/** What other packages declare may need a newer compiler: their errors are theirs. */
async function compiles(application: Application): Promise<void> {
  const output = await application.run(['npx', 'tsc', '--noEmit']).catch((failure: unknown) => String(failure));
  const wrong = output.split('\n').filter(line => / error TS|^error TS/.test(line));
  const own = wrong.filter(
    line => !line.startsWith('node_modules/') || line.startsWith('node_modules/distributed-sse/'),
  );
  if (own.length > 0) throw new Error(own.join('\n'));
}

/** The program uses the other entries too, so that their types are compiled. */
async function typedApplication(workshop: Workshop, name: string, options: object): Promise<Application> {
  return workshop.application(name, {
    'package.json': workshop.manifest({ ...TYPES, ioredis: '*', react: '*', '@types/react': '*' }),
    'main.ts': workshop.quickStart,
    'client.ts': `import { connect } from 'distributed-sse/client';\nconnect<{ tick: number }>('/sse').on('tick', at => at + 1);\n`,
    'hook.ts': `import { useSse } from 'distributed-sse/react';\nexport const hook = () => useSse('/sse').state.kind;\n`,
    'test.ts': `import { createTestCluster } from 'distributed-sse/testing';\nexport const cluster = createTestCluster();\n`,
    'tsconfig.json': {
      compilerOptions: {
        target: 'es2022',
        lib: ['es2022', 'dom', 'dom.iterable', 'esnext.disposable'],
        strict: true,
        exactOptionalPropertyTypes: true,
        experimentalDecorators: true,
        types: ['node'],
        ...options,
      },
      include: ['*.ts'],
    },
  });
}
