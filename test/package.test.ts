import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const MB = 1_000_000;
/** What an application has loaded before it loads this library. */
const PEERS = ['reflect-metadata', 'inversify', 'koa', 'ioredis', '@opentelemetry/api'];
const TRIES = 5;

interface Manifest {
  readonly repository: { readonly url: string };
  readonly homepage: string;
  readonly bugs: string;
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
}
interface Packed {
  readonly unpackedSize: number;
  readonly files: readonly { readonly path: string }[];
}
interface SourceMap {
  readonly sources: readonly string[];
  readonly sourcesContent: readonly (string | null)[];
}

describe('the package', function () {
  const manifest = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as Manifest;
  const entries = Object.values(manifest.exports).filter(entry => typeof entry === 'object');
  let packed: Packed;

  before(async () => {
    await run(process.execPath, ['bundle.js'], { cwd: ROOT });
    const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT });
    packed = onlyOf(JSON.parse(stdout) as Packed[] | Record<string, Packed>);
  });

  /** npm 11 prints an array, npm 12 an object by package name. */
  function onlyOf(printed: Packed[] | Record<string, Packed>): Packed {
    const [first] = Object.values(printed);
    if (first === undefined) throw new Error('npm pack printed no package');
    return first;
  }

  /** The standard output of a program that is an ES module in the root. */
  async function output(program: string, flags: readonly string[] = []): Promise<string> {
    const { stdout } = await run(process.execPath, [...flags, '--input-type=module', '-e', program], { cwd: ROOT });
    return stdout.trim();
  }

  it('has at most 3 MB, unpacked', () => {
    expect(packed.unpackedSize).to.be.at.most(3 * MB);
  });

  it('has what its entries name, one copy of the sources, and no tests', () => {
    const paths = packed.files.map(({ path }) => path);
    const named = entries.flatMap(entry => [entry.types, entry.default]).map(path => path.replace('./', ''));
    expect(paths).to.include.members(named);
    expect(
      paths.filter(path => !/^(dist\/package\/|docs\/[\w-]+\.md$|[A-Z]+(\.md)?$|package\.json$)/.test(path)),
    ).to.deep.equal([]);
    const sources = paths
      .filter(path => path.endsWith('.map'))
      .map(path => JSON.parse(readFileSync(ROOT + path, 'utf8')) as SourceMap);
    const names = sources.flatMap(map => map.sources);
    expect(names.filter((name, at) => names.indexOf(name) !== at)).to.deep.equal([]);
    expect(names).to.include('../../src/node/service.ts');
    // Texts that are in the code already, and packages, are only named.
    const isOurs = (name: string): boolean => !/node_modules\/|\/(lua|assets)\.ts$/.test(name);
    const missing = sources.flatMap(map => map.sources.filter((_, n) => map.sourcesContent[n] === null));
    expect(missing.filter(isOurs)).to.deep.equal([]);
  });

  it('declares nothing that @types/node of older TypeScript lacks', () => {
    const declarations = packed.files.map(({ path }) => path).filter(path => path.endsWith('.d.ts'));
    // Buffer has a type parameter from TypeScript 5.7 on.
    const isNewer = (path: string): boolean => /\b(Buffer|Uint8Array)</.test(readFileSync(ROOT + path, 'utf8'));
    expect(declarations.length).to.be.above(50);
    expect(declarations.filter(isNewer)).to.deep.equal([]);
  });

  it('exports from each entry what the compiled source exports', async () => {
    for (const { types, default: file } of entries) {
      const source = types.replace('package/types', 'src').replace('.d.ts', '.js');
      const [bundled, compiled] = await Promise.all([file, source].map(path => keysOf(path)));
      expect(bundled).to.deep.equal(compiled);
    }
  });

  async function keysOf(path: string): Promise<string[]> {
    const module = (await import(new URL(path, `file://${ROOT}`).href)) as object;
    return Object.keys(module).sort();
  }

  it('shares its classes and identifiers between its entries', async () => {
    const program = `
      import 'reflect-metadata';
      import { SseError, SseService } from 'distributed-sse';
      import { createTestCluster } from 'distributed-sse/testing';
      const refused = await createTestCluster({ options: { send: { deadline: -1 } } }).catch(error => error);
      const cluster = await createTestCluster();
      const [{ container, sse }] = cluster.nodes;
      console.log(refused instanceof SseError, refused.code, container.get(SseService) === sse);
      await cluster.close();`;
    expect(await output(program)).to.equal('true INVALID_OPTION true');
  });

  it('can be required', async () => {
    const program = `
      import { createRequire } from 'node:module';
      import * as imported from 'distributed-sse';
      const required = createRequire(process.cwd() + '/')('distributed-sse');
      console.log(Object.keys(imported).every(name => required[name] === imported[name]));`;
    expect(await output(program)).to.equal('true');
  });

  it('prints its errors under the name of their class', async () => {
    const program = `
      import 'reflect-metadata';
      import { sseModule } from 'distributed-sse';
      import { inspect } from 'node:util';
      try { sseModule({ send: { deadline: -1 } }); } catch (error) { console.log(inspect(error)); }`;
    expect(await output(program)).to.match(/^SseError: send\.deadline must be/);
  });

  it('has the same lines of the sources in its stack traces as the compiled source', async () => {
    const linesOf = async (name: string): Promise<string[]> => {
      const program = `
        import 'reflect-metadata';
        import { sseModule } from '${name}';
        try { sseModule({ send: { deadline: -1 } }); } catch ({ stack }) { console.log(stack); }`;
      return (await output(program, ['--enable-source-maps'])).match(/src\/[\w/-]+\.ts:\d+/g) ?? [];
    };
    const [bundled, compiled] = await Promise.all(['distributed-sse', './dist/src/index.js'].map(linesOf));
    expect(bundled).to.have.length.greaterThan(1);
    expect(bundled).to.deep.equal(compiled);
  });

  it('costs at most 0.4 of what its peers cost to import', async () => {
    const program = `
      const start = performance.now();
      for (const name of ${JSON.stringify(PEERS)}) await import(name);
      const between = performance.now();
      await import('distributed-sse');
      console.log((performance.now() - between) / (between - start));`;
    // A busy machine may stop one of the two halves: the least of some tries is what the package costs.
    let share = Infinity;
    for (let tries = 0; tries < TRIES && share > 0.4; tries += 1)
      share = Math.min(share, Number(await output(program)));
    expect(share).to.be.at.most(0.4);
  });

  it('names one home, from which its other addresses come', () => {
    const home = manifest.repository.url.replace(/^git\+/, '').replace(/\.git$/, '');
    expect(manifest.homepage).to.equal(`${home}#readme`);
    expect(manifest.bugs).to.equal(`${home}/issues`);
  });
});
