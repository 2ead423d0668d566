import ts from 'typescript';

/** A piece of code that is found by the names around it, so that lines and formatting may change. */
export interface CodePlace {
  /** The function, or `Class.method`, that has the code. */
  readonly within: string;
  /** The text of the expression or statement, the only one of its kind there; white space does not matter. */
  readonly find: string;
}

/** The text of a TypeScript file with one piece of code replaced. @throws Error unless the piece exists exactly once */
export function mutate(text: string, { within, find }: CodePlace, replace: string): string {
  const file = ts.createSourceFile('source.ts', text, ts.ScriptTarget.ES2023, true);
  const declared = nodesOf(file).filter(node => nameOf(node) === within);
  const [declaration] = declared;
  if (declaration === undefined || declared.length > 1) {
    throw new Error(`'${within}' must be declared once, got ${declared.length} declarations`);
  }
  const wanted = plain(find);
  // An expression and the statement that is nothing else have the same range; the outer one comes first.
  const found = nodesOf(declaration).filter(node => plain(node.getText(file)) === wanted);
  const [place] = found;
  const ranges = new Set(found.map(node => node.getStart(file)));
  if (place === undefined || ranges.size > 1) {
    throw new Error(`'${within}' must have '${find}' once, got it ${ranges.size} times`);
  }
  return text.slice(0, place.getStart(file)) + replace + text.slice(place.getEnd());
}

function nodesOf(node: ts.Node): ts.Node[] {
  const children: ts.Node[] = [];
  node.forEachChild(child => {
    children.push(...nodesOf(child));
  });
  return [node, ...children];
}

/** `name` of a function, `Class.name` of a member. */
function nameOf(node: ts.Node): string | undefined {
  if (ts.isFunctionDeclaration(node)) return node.name?.text;
  if (!ts.isMethodDeclaration(node) && !ts.isGetAccessor(node)) return undefined;
  const { parent } = node;
  const owner = ts.isClassDeclaration(parent) ? parent.name?.text : undefined;
  return `${owner ?? ''}.${node.name.getText()}`;
}

function plain(code: string): string {
  return code.replace(/\s+/g, '');
}
