import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import ts from 'typescript';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SRC = join(ROOT, 'src');

/** A folder, or file at the top, imports only from lower levels; those of one level never import each other. */
const LEVELS: Readonly<Record<string, number>> = {
  'close-reasons.ts': 0,
  'errors.ts': 0,
  'time.ts': 0,
  // It runs in browsers: nothing of the server's half may come with it.
  client: 0,
  react: 1,
  contracts: 1,
  options: 2,
  protocol: 2,
  telemetry: 2,
  connection: 3,
  cluster: 4,
  resilience: 4,
  node: 5,
  koa: 6,
  'container.ts': 7,
  console: 8,
  testing: 8,
};

/** Who may import which package. `types` allows `import type` everywhere below that folder's level and above. */
const CONFINED: Readonly<Record<string, { folders: readonly string[]; typesIn?: readonly string[] }>> = {
  inversify: {
    folders: ['container.ts', 'testing'],
    typesIn: ['contracts', 'options', 'koa', 'console'],
  },
  koa: { folders: ['koa'], typesIn: ['console'] },
  'path-to-regexp': { folders: ['koa'] },
  react: { folders: ['react'] },
  ioredis: { folders: ['cluster'] },
  cockatiel: { folders: ['resilience'] },
  '@opentelemetry/api': { folders: ['telemetry'] },
};

/** The public surface, reviewed: a change here is a change of the product. */
const PUBLIC_VALUES = [
  'Audit',
  'ClusterCoordinator',
  'CockatielPolicy',
  'ConnectionStore',
  'ConsoleLogger',
  'LocalCoordinator',
  'Logger',
  'MemoryBus',
  'MemoryConnectionStore',
  'PassthroughPolicy',
  'ResiliencePolicy',
  'ResolvedSseOptions',
  'SseController',
  'SseEndpoint',
  'SseError',
  'SseService',
  'TicketGuard',
  'connectionIdOf',
  'drainOnSignals',
  'privateName',
  'sseMiddleware',
  'sseModule',
  'sseResponseHook',
];

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

interface Source {
  /** Path below `src`, with slashes. */
  readonly path: string;
  /** The first part of the path: a folder, or a file at the top; '' for index.ts. */
  readonly folder: string;
  readonly lines: number;
  readonly text: string;
  readonly imports: readonly Import[];
}

const sources: readonly Source[] = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter(path => path.endsWith('.ts'))
  .map(path => {
    const text = readFileSync(join(SRC, path), 'utf8');
    return {
      path: path.split(sep).join('/'),
      folder: path === 'index.ts' ? '' : (path.split(sep)[0] ?? ''),
      lines: text.trimEnd().split('\n').length,
      text,
      imports: importsOf(path, text),
    };
  });

const inFolders = sources.filter(({ folder }) => folder !== '');

describe('architecture', () => {
  it('knows every folder of src', () => {
    const folders = new Set(inFolders.map(({ folder }) => folder));
    expect([...folders].filter(folder => LEVELS[folder] === undefined)).to.deep.equal([]);
  });

  it('imports point to lower levels only', () => {
    const wrong = inFolders.flatMap(({ path, folder, imports }) =>
      imports
        .flatMap(({ specifier }) => localTarget(path, specifier))
        .map(target => target.split('/')[0] ?? '')
        .filter(target => target !== folder && !(level(target) < level(folder)))
        .map(target => `${path} -> ${target}`),
    );
    expect(wrong).to.deep.equal([]);
  });

  it('no file is part of an import cycle, types included', () => {
    const graph = new Map(
      sources.map(({ path, imports }) => [path, imports.flatMap(({ specifier }) => localTarget(path, specifier))]),
    );
    expect(cycleIn(graph)).to.equal(undefined);
  });

  it('third-party packages stay in their folders', () => {
    const wrong = inFolders.flatMap(({ path, folder, imports }) =>
      imports
        .filter(({ specifier }) => !specifier.startsWith('.') && !specifier.startsWith('node:'))
        .filter(({ specifier, typeOnly }) => {
          const rule = CONFINED[specifier];
          if (rule === undefined) return true;
          if (rule.folders.includes(folder)) return false;
          return !(typeOnly && rule.typesIn?.includes(folder));
        })
        .map(({ specifier }) => `${path} -> ${specifier}`),
    );
    expect(wrong).to.deep.equal([]);
  });

  it('the public surface is the reviewed list', async () => {
    const library: Record<string, unknown> = await import('../src/index.js');
    expect(Object.keys(library).sort()).to.deep.equal([...PUBLIC_VALUES].sort());
  });

  it('index.ts only re-exports by name', () => {
    const index = sources.find(({ path }) => path === 'index.ts');
    expect(index?.text).to.not.match(/export \*/);
    expect(index?.text.replace(/export (type )?\{[^}]*\} from '[^']+';/g, '').trim()).to.equal('');
  });

  it('contracts hold no code that runs but identifiers', () => {
    const values = sources
      .filter(({ folder }) => folder === 'contracts')
      .flatMap(({ path, text }) => statementsThatRun(path, text));
    expect(values).to.deep.equal([]);
  });

  it('every module can be imported on its own', async () => {
    // The page of the console runs in browsers, bundled.
    const modules = sources.filter(({ path }) => !path.startsWith('console/page/'));
    for (const { path } of modules) await import(`../src/${path.replace(/\.ts$/, '.js')}`);
  });

  it('no file is longer than 400 lines', () => {
    // A contract suite is one list of facts.
    const suites = 'testing/contracts/';
    const long = sources.filter(({ path, lines }) => lines > 400 && !path.startsWith(suites));
    expect(long.map(({ path }) => path)).to.deep.equal([]);
  });

  it('nothing but classes, functions and constants stands at the top of a module', () => {
    // A `let` at the top would be state that two containers share.
    const stateful = sources.filter(({ text }) => /^(let|var) /m.test(text));
    expect(stateful.map(({ path }) => path)).to.deep.equal([]);
  });
});

function importsOf(path: string, text: string): Import[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, false);
  return file.statements.flatMap(statement => {
    if (ts.isImportDeclaration(statement) && ts.isStringLiteral(statement.moduleSpecifier)) {
      const typeOnly = statement.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
      return [{ specifier: statement.moduleSpecifier.text, typeOnly }];
    }
    if (
      ts.isExportDeclaration(statement) &&
      statement.moduleSpecifier &&
      ts.isStringLiteral(statement.moduleSpecifier)
    ) {
      return [{ specifier: statement.moduleSpecifier.text, typeOnly: statement.isTypeOnly }];
    }
    return [];
  });
}

function localTarget(from: string, specifier: string): string[] {
  if (!specifier.startsWith('.')) return [];
  const target = resolve(SRC, dirname(from), specifier.replace(/\.js$/, '.ts'));
  return [relative(SRC, target).split(sep).join('/')];
}

function level(folder: string): number {
  return LEVELS[folder] ?? Number.NaN;
}

function cycleIn(graph: ReadonlyMap<string, readonly string[]>): string | undefined {
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): string | undefined => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path].join(' -> ');
    if (done.has(path)) return undefined;
    for (const next of graph.get(path) ?? []) {
      const cycle = visit(next, [...trail, path]);
      if (cycle !== undefined) return cycle;
    }
    done.add(path);
    return undefined;
  };
  for (const path of graph.keys()) {
    const cycle = visit(path, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

function statementsThatRun(path: string, text: string): string[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  return file.statements
    .filter(
      statement =>
        !ts.isImportDeclaration(statement) &&
        !ts.isInterfaceDeclaration(statement) &&
        !ts.isTypeAliasDeclaration(statement) &&
        !/^export const \w+: ServiceIdentifier<\w+> = Symbol\.for\(\s*'distributed-sse\/\w+',?\s*\);$/.test(
          statement.getText(file),
        ),
    )
    .map(statement => `${path}: ${statement.getText(file).slice(0, 60)}`);
}
