/**
 * Makes what is published, in dist/package: one file for each entry of package.json, what entries share in files of its own,
 * and the declarations that entries reach. It takes what the compiler made, so `npm run build` comes first; `npm pack` runs
 * both. Lines are short and maps hold the sources, so that a stack trace can be read with and without maps.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { decode, encode } from '@jridgewell/sourcemap-codec';
import { build } from 'esbuild';

const COMPILED = 'dist/src';
const TARGET = './dist/package/';
const TYPES = `${TARGET}types/`;
// Inside the files: its newest version wants a newer Node than this package, and it has many small files.
const INSIDE = ['cockatiel'];
// Sources that maps only name.
const FOREIGN = /node_modules\/|\/(lua|assets)\.ts$/;

const { exports, dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
const entries = Object.values(exports)
  .filter(entry => typeof entry === 'object')
  .map(entry => ({ declaration: entry.types.replace(TYPES, ''), file: entry.default.replace(TARGET, '') }));

rmSync(TARGET, { recursive: true, force: true });
await build({
  entryPoints: entries.map(({ declaration, file }) => ({
    in: join(COMPILED, declaration.replace(/\.d\.ts$/, '.js')),
    out: file.replace(/\.js$/, ''),
  })),
  outdir: TARGET,
  chunkNames: 'shared-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  target: 'es2023',
  external: ['node:*', ...Object.keys({ ...dependencies, ...peerDependencies })],
  sourcemap: 'linked',
  legalComments: 'none',
  minifyWhitespace: true,
  lineLimit: 160,
  logLevel: 'warning',
});

// A stack trace names lines, so one mapping for each line of a source is enough. Texts and packages are no sources of ours.
for (const file of readdirSync(TARGET).filter(name => name.endsWith('.map'))) {
  const map = JSON.parse(readFileSync(join(TARGET, file), 'utf8'));
  map.mappings = encode(decode(map.mappings).map(beginningsOfLines));
  map.names = [];
  map.sourcesContent = map.sources.map((source, n) => (FOREIGN.test(source) ? null : map.sourcesContent[n]));
  writeFileSync(join(TARGET, file), JSON.stringify(map));
}

// A declaration that no entry reaches serves no compiler.
const declarations = new Set(entries.map(({ declaration }) => declaration));
for (const declaration of declarations) {
  const text = readFileSync(join(COMPILED, declaration), 'utf8').replace(/\n\/\/# sourceMappingURL=.*$/m, '');
  for (const [, path] of text.matchAll(/(?:from |import |import\()['"](\.{1,2}\/[^'"]+)\.js['"]/g)) {
    declarations.add(join(dirname(declaration), `${path}.d.ts`));
  }
  mkdirSync(join(TYPES, dirname(declaration)), { recursive: true });
  writeFileSync(join(TYPES, declaration), text);
}

const licenses = INSIDE.map(name => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, 'utf8')}`);
writeFileSync(join(TARGET, 'LICENSES.txt'), licenses.join('\n'));

/** Of the segments of one line: those with which another line of a source begins. */
function beginningsOfLines(segments) {
  return segments
    .filter(([, source, line], n) => n === 0 || source !== segments[n - 1][1] || line !== segments[n - 1][2])
    .map(segment => segment.slice(0, 4));
}
