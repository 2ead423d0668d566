/** The code blocks of pages in Markdown, and their compilation against the package. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = new URL('../../../', import.meta.url);
const FOLDER = new URL('dist/code-blocks/', ROOT);
const COMPILER = fileURLToPath(new URL('node_modules/typescript-7/bin/tsc', ROOT));
const FENCE = /^([ \t]*)```(\S*)[ \t]*(.*)\n([^]*?)^\1```$/gm;

/** What a reader with `strict` and the two strictest further flags has. */
const OPTIONS = {
  target: 'es2023',
  module: 'nodenext',
  lib: ['es2023', 'esnext.disposable', 'dom', 'dom.iterable', 'dom.asynciterable'],
  types: ['node'],
  jsx: 'react-jsx',
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  verbatimModuleSyntax: true,
  experimentalDecorators: true,
  skipLibCheck: true,
};

/** One fenced block. */
export interface CodeBlock {
  /** The path of its page. */
  readonly page: string;
  /** The line of its first line of code. */
  readonly line: number;
  readonly language: string;
  /** What follows the language: `fragment` is a part of a program, `browser` a program for a page. */
  readonly mark: string;
  readonly code: string;
}

/** The blocks of a page in their order. */
export function codeBlocks(page: string, text: string): CodeBlock[] {
  return [...text.matchAll(FENCE)].map(match => {
    const [, indent = '', language = '', mark = '', code = ''] = match;
    const line = text.slice(0, match.index).split('\n').length + 1;
    return { page, line, language, mark, code: code.replaceAll(new RegExp(`^${indent}`, 'gm'), '') };
  });
}

/** The name of a block as compilers and editors write a position. */
export function nameOf({ page, line }: CodeBlock): string {
  return `${page}:${line}`;
}

/** The file that is run, after {@link compileBlocks}. */
export function compiledFile(block: CodeBlock): URL {
  return new URL(fileOf(block).replace(/\.tsx?$/, '.js'), FOLDER);
}

/**
 * Compiles blocks of TypeScript, each as a module of its own, with the names of the package standing for the compiled
 * sources.
 * @returns the errors of the compiler, each with its place in the page
 */
export async function compileBlocks(blocks: readonly CodeBlock[]): Promise<string[]> {
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER, { recursive: true });
  const entries = await entriesOfPackage();
  for (const block of blocks) {
    const code = block.code.replaceAll(/(['"])(distributed-sse[\w/-]*)\1/g, (quoted, _, name: string) => {
      const path = entries.get(name);
      return path === undefined ? quoted : `'../src/${path}'`;
    });
    // Empty lines before the code: then its lines have the numbers that they have in the page.
    await writeFile(new URL(fileOf(block), FOLDER), '\n'.repeat(block.line - 1) + code);
  }
  await writeFile(new URL('tsconfig.json', FOLDER), JSON.stringify({ compilerOptions: OPTIONS }));
  const pages = new Map(blocks.map(block => [fileOf(block), block.page]));
  const lines = (await outputOf(COMPILER, ['-p', fileURLToPath(FOLDER), '--pretty', 'false'])).split('\n');
  return lines
    .filter(line => line.includes('error TS'))
    .map(line =>
      line.replace(/^.*?([^/]+\.tsx?)\((\d+),.*?\): /, (_, file: string, at) => `${pages.get(file)}:${at} `),
    );
}

/** What a parser says of a part of a program: it may be statements, or members of a class. */
export function syntaxErrors({ language, code }: CodeBlock): string[] {
  const fileName = `part.${language}`;
  const errorsIn = (text: string): string[] => {
    const { diagnostics = [] } = ts.transpileModule(text, { fileName, reportDiagnostics: true });
    return diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
  };
  const asStatements = errorsIn(code);
  return asStatements.length === 0 || errorsIn(`class Part {\n${code}\n}`).length === 0 ? [] : asStatements;
}

function fileOf({ page, line, language }: CodeBlock): string {
  return `${basename(page, '.md')}-${line}.${language}`;
}

/** The compiled source of each name under which the package can be imported. */
async function entriesOfPackage(): Promise<ReadonlyMap<string, string>> {
  const { exports } = JSON.parse(await readFile(new URL('package.json', ROOT), 'utf8')) as {
    readonly exports: Readonly<Record<string, string | { readonly types: string }>>;
  };
  const entries = Object.entries(exports).flatMap(([name, entry]): [string, string][] => {
    if (typeof entry === 'string') return [];
    const path = entry.types.replace('./dist/package/types/', '').replace('.d.ts', '.js');
    return [[name.replace('.', 'distributed-sse'), path]];
  });
  return new Map(entries);
}

/** What a program of Node prints; a compiler that finds errors ends with a status of its own. */
function outputOf(program: string, args: readonly string[]): Promise<string> {
  return new Promise(resolve => {
    execFile(process.execPath, [program, ...args], (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}
