/**
 * Makes `docs/settings.md` from the table of settings; `npm run docs:settings` writes it. The texts are the comments of
 * the table as its declaration file has them, so that the page and the types of a user say the same.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import ts from 'typescript';
import { listSettings } from '../../src/options/sse-options.js';
import type { Setting } from '../../src/options/kinds.js';

/** The tables, and the path under which each stands. */
const TABLES = [
  { name: 'SETTINGS', file: 'settings', above: [] },
  { name: 'LIMITS', file: 'limits', above: ['limits'] },
  { name: 'GUARDS', file: 'limits', above: ['guards'] },
] as const;
export const SETTINGS_PAGE = fileURLToPath(new URL('../../../docs/settings.md', import.meta.url));

const INTRODUCTION = `# Settings

<!-- Made by \`npm run docs:settings\` from src/options/settings.ts; do not edit. -->

In code, with \`undefined\` for the default:

\`\`\`ts
import { sseModule } from 'distributed-sse';

sseModule({ connection: { maxConnections: 5000, maxAge: false } });
\`\`\`

The environment overrules the code. The name of a variable is the path of its setting: \`SSE_CONNECTION_MAX_CONNECTIONS=5000\`.
Flags are \`true\`, \`false\`, \`1\` or \`0\`; \`false\` and \`off\` switch off a setting that takes \`false\`; lists are separated by
commas; \`history.topics\` is JSON. An empty variable counts as unset.

A variable that begins with \`SSE_\` and is nearly the name of a setting fails the start. Others are ignored: those of a Kubernetes
Service named \`sse\` (\`SSE_SERVICE_HOST\`, \`SSE_PORT\`), and those of other programs (\`SSE_KMS_KEY_ID\`). Another prefix, or none:

\`\`\`ts
import { sseModule } from 'distributed-sse';

sseModule({}, { environment: { prefix: 'MYAPP_' } }); // MYAPP_CONNECTION_MAX_CONNECTIONS
sseModule({}, { environment: false });
\`\`\`

Unknown names in code, wrong values and contradictions fail the start with \`INVALID_OPTION\`. The error names each of them, with the
rule, the received value and the nearest known setting. It never shows a secret.`;

/** What the comment of a setting says. */
export interface SettingText {
  readonly meaning: string;
  /** What follows "Default"; 'none' for "No default", `undefined` when nothing is said. */
  readonly initial: string | undefined;
}

/** The comments of the table by path, those of groups included. */
export function settingTexts(): ReadonlyMap<string, SettingText> {
  const texts = new Map<string, SettingText>();
  for (const table of TABLES) addTexts(texts, table);
  return texts;
}

function addTexts(texts: Map<string, SettingText>, { name, file: fileName, above }: (typeof TABLES)[number]): void {
  const source = readFileSync(new URL(`../../src/options/${fileName}.d.ts`, import.meta.url), 'utf8');
  const file = ts.createSourceFile(`${fileName}.d.ts`, source, ts.ScriptTarget.Latest, true);
  const visit = (type: ts.TypeNode | undefined, path: readonly string[]): void => {
    if (type === undefined || !ts.isTypeLiteralNode(type)) return;
    for (const member of type.members) {
      if (!ts.isPropertySignature(member)) continue;
      const keys = [...path, member.name.getText(file)];
      texts.set(keys.join('.'), splitComment(commentOf(member)));
      visit(member.type, keys);
    }
  };
  for (const statement of file.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    const table = statement.declarationList.declarations.find(each => each.name.getText(file) === name);
    visit(table?.type, above);
  }
}

function commentOf(node: ts.Node): string {
  const comments = ts.getJSDocCommentsAndTags(node).map(({ comment }) => comment);
  return comments.map(comment => ts.getTextOfJSDocComment(comment) ?? '').join(' ');
}

function splitComment(comment: string): SettingText {
  const text = comment.replace(/\s+/g, ' ').trim();
  const [, meaning, initial] = /^(.*\.) (?:Default:? (.+)|No default)\.$/.exec(text) ?? [];
  return meaning === undefined ? { meaning: text, initial: undefined } : { meaning, initial: initial ?? 'none' };
}

/** A setting as pages show it; texts are Markdown. */
interface ListedSetting {
  readonly path: string;
  readonly variable: string | undefined;
  readonly rule: string;
  readonly initial: string;
  readonly meaning: string;
}

/** The settings by group, in the order of the table; the group of settings that have none is ''. */
export function listedGroups(): { name: string; meaning: string; settings: ListedSetting[] }[] {
  const texts = settingTexts();
  const groups = new Set(listSettings().map(({ path }) => groupOf(path)));
  return [...groups].map(name => ({
    name,
    meaning: texts.get(name)?.meaning ?? '',
    settings: listSettings()
      .filter(({ path }) => groupOf(path) === name)
      .map(({ path, variable, setting }) => {
        const { meaning = '', initial = 'none' } = texts.get(path) ?? {};
        return { path, variable, rule: setting.kind.rule, initial: defaultOf(setting, initial), meaning };
      }),
  }));
}

/** The page as it must be. */
export async function settingsPage(): Promise<string> {
  const sections = listedGroups().map(({ name, meaning: text, settings }) => {
    const rows = settings.map(({ path, variable, rule, initial, meaning }) => {
      const names = [path, variable].flatMap(each => each ?? []).map(code);
      return `| ${[names.join('<br>'), rule, initial, meaning].join(' | ')} |`;
    });
    const head = name === '' ? '## General' : `## ${code(name)}\n\n${text}`;
    return `${head}\n\n| setting | must be | default | meaning |\n|-|-|-|-|\n${rows.join('\n')}`;
  });
  const config = await resolveConfig(SETTINGS_PAGE);
  return format([INTRODUCTION, ...sections].join('\n\n'), { ...config, parser: 'markdown' });
}

function groupOf(path: string): string {
  return path.split('.').slice(0, -1).join('.');
}

/** A default of the table as the page shows it; the words of the comment where the table has no plain value. */
export function defaultOf({ initial }: Setting<unknown>, words: string): string {
  const value = initial.kind === 'fixed' ? initial.value : undefined;
  switch (typeof value) {
    case 'string':
      return code(value);
    case 'number':
    case 'boolean':
      return String(value);
    default:
      return words;
  }
}

function code(text: string): string {
  return `\`${text}\``;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(SETTINGS_PAGE, await settingsPage());
}
