/** Bundles the pages of this project: the console's into src/console/assets.ts as text, those of the examples into dist. `npm run build` runs it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const settings = {
  absWorkingDir: root,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  charset: 'utf8',
  legalComments: 'none',
};

await Promise.all([
  build({
    ...settings,
    entryPoints: ['tour.ts', 'tour.css'].map(name => `examples/01-one-process/page/${name}`),
    outdir: 'dist/examples/01-one-process/page',
  }),
]);
