import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const KB = 1024;

/** Bytes of what an application ships for one import, minified and compressed, and the packages that come with it. */
async function cost(contents: string, external: string[] = []): Promise<{ bytes: number; inputs: string[] }> {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: ROOT },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    write: false,
    metafile: true,
    external,
  });
  const inputs = Object.keys(metafile.inputs).filter(path => path.includes('/'));
  return { bytes: gzipSync(outputFiles[0]?.contents ?? '').length, inputs };
}

describe('client: the package', () => {
  it('adds at most 5 KB to a page, and nothing of the server', async () => {
    const { bytes, inputs } = await cost("export { connect } from './dist/src/client/index.js'");
    expect(bytes).to.be.at.most(5 * KB);
    expect(inputs.filter(path => !path.startsWith('dist/src/client/'))).to.deep.equal([]);
  });

  it('adds at most 1 KB for the React hook', async () => {
    const external = ['react', './dist/src/client/*'];
    const { bytes } = await cost("export { useSse } from './dist/src/react/index.js'", external);
    expect(bytes).to.be.within(100, KB);
  });

  it('has no types of Node in its declarations', () => {
    const folder = join(ROOT, 'dist/src/client');
    const declarations = readdirSync(folder).filter(name => name.endsWith('.d.ts'));
    const leaks = declarations.filter(name =>
      /node:|NodeJS|types="node"/.test(readFileSync(join(folder, name), 'utf8')),
    );
    expect(declarations).to.include('index.d.ts');
    expect(leaks).to.deep.equal([]);
  });
});
