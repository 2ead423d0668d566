/**
 * Makes `docs/reference.md`, and the spans and metrics of `docs/telemetry.md`, from the comments of the declarations and from the
 * tables of the code; `npm run docs:reference` writes them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { httpStatusOf, SSE_ERROR_CODES } from '../../src/errors.js';
import { METRICS } from '../../src/telemetry/names.js';
import { writeSection } from './doc-section.js';
import { markdownTable } from './markdown.js';

export const REFERENCE_PAGE = fileURLToPath(new URL('../../../docs/reference.md', import.meta.url));

/** The rows of the table in the comment of a declaration that begins with `head`. */
function commentTable(file: string, head: string): string[][] {
  const text = readFileSync(new URL(`../../src/${file}.d.ts`, import.meta.url), 'utf8');
  const lines = text.slice(text.indexOf(` * | ${head} |`)).split('\n');
  const rows = lines.slice(
    2,
    lines.findIndex(line => !line.startsWith(' * |')),
  );
  return rows.map(row =>
    row
      .slice(4)
      .split('|')
      .slice(0, -1)
      .map(cell => cell.trim()),
  );
}

/** The library's own events, with their comments. */
function reservedEvents(): string[][] {
  const text = readFileSync(new URL('../../src/client/options.d.ts', import.meta.url), 'utf8');
  const [, body = ''] = /interface LibraryEvents \{\n([^]*?)\n\}/.exec(text) ?? [];
  const events = [...body.matchAll(/^ {4}\/\*\* (.+) \*\/\n {4}readonly '?([\w.]+)'?:/gm)];
  return events.map(([, comment = '', name = '']) => [`\`${name}\``, comment.replace(/\{@link (\w+)\}/g, '`$1`')]);
}

/** Each status of a refusal with its codes. */
function statuses(): string[][] {
  const codes = [...SSE_ERROR_CODES];
  const all = [...new Set(codes.map(httpStatusOf))].sort((a, b) => a - b);
  return all.map(status => [
    String(status),
    codes
      .filter(code => httpStatusOf(code) === status)
      .map(code => `\`${code}\``)
      .join(', '),
  ]);
}

/** The spans, with their kind, and when each is recorded. */
export function spanRows(): string[][] {
  return commentTable('telemetry/names', 'span | kind');
}

/** The metrics, with kind, unit, attributes and meaning. */
export function metricRows(): string[][] {
  return Object.values(METRICS).map(({ name, kind, unit, description, attributes }) => {
    const labels = attributes.map(attribute => `\`${attribute}\``).join(', ');
    return [`\`${name}\``, kind, `\`${unit}\``, labels || '–', description];
  });
}

/** The page as it must be. */
export async function referencePage(): Promise<string> {
  const errors = commentTable('errors', 'code | cause').map(([code = '', cause = '', retry = '', todo = '']) => [
    code,
    String(httpStatusOf(code.replaceAll('`', '') as Parameters<typeof httpStatusOf>[0])),
    cause,
    retry,
    todo,
  ]);
  const text = `# Reference

<!-- Made by \`npm run docs:reference\` from src/errors.ts, src/close-reasons.ts and src/client/options.ts; do not edit. -->

Settings are in [settings](settings.md), metrics and spans in [telemetry](telemetry.md), outcomes in [sending](sending.md).

## Errors

Everything that the library throws is an \`SseError\` with one of these codes. \`SseError.is(error, 'DRAINING')\` recognises one. Programs read the
code; the message names the rule, the received value and the next step. A \`rejected\` receipt has such a code too.

${markdownTable(['code', 'status', 'when', 'again?', 'what to do'], errors)}

A receipt that is \`unavailable\` has one of these codes:

${markdownTable(['code', 'meaning'], commentTable('errors', 'code | meaning'))}

## HTTP statuses

A stream that opens is 200. A refused request has the status of its code; a guard or a handler may choose another one from 400 to 599. A refusal
that may pass is a stream for a client that names \`text/event-stream\`: [what a client sees](streams.md#when-things-are-refused).

${markdownTable(['status', 'codes'], statuses())}

## Events

Names that begin with \`sse.\`, and \`connected\`, belong to the library; an application cannot send them.

${markdownTable(['event', 'meaning'], reservedEvents())}

\`sse.position\` is the fourth: it moves the last id of a quiet client, and no application listens for it. [What a client sees](streams.md) has
the data of each.

## Close reasons

The last event of a stream that the server ends is \`sse.closed\` with a reason. An application may name its own.

${markdownTable(['reason', 'cause', 'does the client come back?'], commentTable('close-reasons', 'reason | cause'))}
`;
  return format(text, { ...(await resolveConfig(REFERENCE_PAGE)), parser: 'markdown' });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(REFERENCE_PAGE, await referencePage());
  writeSection('telemetry', 'spans', markdownTable(['span', 'kind', 'when'], spanRows()));
  writeSection(
    'telemetry',
    'metrics',
    markdownTable(['metric', 'kind', 'unit', 'attributes', 'meaning'], metricRows()),
  );
}
