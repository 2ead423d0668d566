import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import ts from 'typescript';
import { SSE_ERROR_CODES } from '../src/errors.js';
import { ATTRIBUTE, METRICS, SPAN_NAMES } from '../src/telemetry/names.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SRC = join(ROOT, 'src');

/** Words that the field has a better word for, with that word. */
const BANNED: Readonly<Record<string, string>> = {
  acceptance: 'outcome',
  claim: 'lock',
  claims: 'locks',
  fence: 'fencing token',
  fences: 'fencing tokens',
  glance: 'reconcile',
  hole: 'gap',
  holes: 'gaps',
  listen: 'subscribe',
  member: 'node',
  mend: 'repair',
  mends: 'repairs',
  mended: 'repaired',
  miss: 'gap',
  notice: 'gap, reset',
  outbox: 'send buffer',
  place: 'position',
  seal: 'sign',
  sealed: 'signed',
  sweep: 'expire',
  taken: 'outcome',
  tally: 'report',
  tell: 'report, notify, record',
  tells: 'report, notify, record',
  tip: 'head',
  told: 'reported, notified, recorded',
  unlisten: 'unsubscribe',
  upkeep: 'maintenance',
  upto: 'until',
};

/** Names that keep a banned word, with the reason. */
const EXCEPTIONS: ReadonlySet<string> = new Set<string>([]);

describe('vocabulary', () => {
  it('is kept by what the modules export, and by the members of it', () => {
    const names = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
      .filter(path => path.endsWith('.ts'))
      .flatMap(path => exportedNames(path));
    expect(offenders(names)).to.deep.equal([]);
  });

  it('is kept by metrics, attributes, spans and error codes', () => {
    const names = [
      ...Object.values(METRICS).map(({ name }) => name),
      ...Object.values(ATTRIBUTE),
      ...SPAN_NAMES,
      ...SSE_ERROR_CODES,
    ];
    expect(offenders(names)).to.deep.equal([]);
  });
});

function offenders(names: readonly string[]): string[] {
  return names
    .filter(name => !EXCEPTIONS.has(name.slice(name.lastIndexOf(' ') + 1)))
    .flatMap(name => {
      const word = wordsOf(name.slice(name.lastIndexOf(' ') + 1)).find(each => BANNED[each] !== undefined);
      return word === undefined ? [] : [`${name}: use ${BANNED[word] ?? ''}, not ${word}`];
    });
}

/** The words of a name in camel case, snake case or with dots, in lower case. */
function wordsOf(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
}

/** `path name` for each export, and for each member of an exported interface, type or class that is not private. */
function exportedNames(path: string): string[] {
  const text = readFileSync(join(SRC, path), 'utf8');
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  return file.statements.filter(isExported).flatMap(statement => {
    const names: string[] = [];
    const visit = (node: ts.Node): void => {
      if (ts.isBlock(node)) return;
      if (isNamed(node) && ts.isIdentifier(node.name)) names.push(`${path} ${node.name.text}`);
      ts.forEachChild(node, visit);
    };
    visit(statement);
    return names;
  });
}

function isExported(statement: ts.Statement): boolean {
  return (
    ts.canHaveModifiers(statement) &&
    ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true
  );
}

function isNamed(node: ts.Node): node is ts.Node & { readonly name: ts.Node } {
  return (
    ts.isVariableDeclaration(node) ||
    ts.isFunctionDeclaration(node) ||
    ts.isClassDeclaration(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isPropertySignature(node) ||
    ts.isPropertyDeclaration(node) ||
    ts.isPropertyAssignment(node) ||
    ts.isMethodSignature(node) ||
    ts.isMethodDeclaration(node) ||
    ts.isGetAccessorDeclaration(node)
  );
}
