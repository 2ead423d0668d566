/** Bundles the pages: the console's into src/console/assets.ts as text, those of the examples into dist. `npm run build` runs it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const settings = {
  absWorkingDir: root,
  bundle: true,
  charset: 'utf8',
  format: 'esm',
  legalComments: 'none',
  minify: true,
  target: ['es2022', 'chrome120', 'firefox121', 'safari17.4'],
};

await Promise.all([
  embedConsole(),
  bundleExample('01-one-process', 'tour'),
  bundleExample('06-resumable-answers', 'answer'),
  bundleExample('08-react', 'votes', ['tsx']),
]);

async function bundleExample(example, name, types = ['ts', 'css']) {
  const folder = `examples/${example}/page`;
  const entryPoints = types.map(type => `${folder}/${name}.${type}`);
  const define = { 'process.env.NODE_ENV': '"production"' };
  await build({ ...settings, define, jsx: 'automatic', entryPoints, outdir: `dist/${folder}` });
}

async function embedConsole() {
  const page = 'src/console/page';
  const entryPoints = ['console.ts', 'console.css'].map(name => `${page}/${name}`);
  const { outputFiles } = await build({ ...settings, entryPoints, outdir: 'out', write: false });
  const textOf = ending => outputFiles.find(({ path }) => path.endsWith(ending)).text;
  const files = [
    ['index.html', 'text/html; charset=utf-8', readFileSync(`${root}${page}/index.html`, 'utf8')],
    ['console.css', 'text/css; charset=utf-8', textOf('.css')],
    ['console.js', 'text/javascript; charset=utf-8', textOf('.js')],
  ];
  const entries = files.map(
    ([name, type, body]) =>
      `  ${JSON.stringify(name)}: { type: ${JSON.stringify(type)}, body: ${JSON.stringify(body)} },\n`,
  );
  const made = `// Made by \`npm run build\` (src/console/page/build.js) from src/console/page; do not edit.
/** One file of the page. */
interface Asset {
  /** Its Content-Type. */
  readonly type: string;
  readonly body: string;
}

/** The files of the page by their path below the console; \`index.html\` answers the path itself. */
export const ASSETS: Readonly<Record<string, Asset>> = {
${entries.join('')}};
`;
  const target = `${root}src/console/assets.ts`;
  // An unchanged file keeps its time, so that the compiler has nothing to do.
  if (made !== readFileSync(target, { encoding: 'utf8', flag: 'a+' })) writeFileSync(target, made);
}
