/**
 * A plugin of TypeDoc: modules have the names under which they are imported, and the page of `SseOptions` lists every
 * setting, which its type does not show.
 */
import { Converter } from 'typedoc';
import { MarkdownPageEvent } from 'typedoc-plugin-markdown';
import { listedGroups } from '../../dist/test/support/settings-page.js';

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const module of project.children ?? []) {
      module.name = module.name === 'index' ? 'distributed-sse' : `distributed-sse/${module.name}`;
    }
  });
  app.renderer.on(MarkdownPageEvent.END, page => {
    if (page.url.endsWith('/SseOptions.md')) page.contents += `\n${listedGroups().map(sectionOf).join('\n\n')}\n`;
  });
}

function sectionOf({ name, meaning, settings }) {
  const entries = settings.map(each => {
    const lines = [`Default: ${each.initial}.`, `Must be: ${each.rule}.`];
    if (each.variable !== undefined) lines.push(`Environment: \`${each.variable}\`.`);
    return `#### ${each.path}\n\n${each.meaning}\n\n${lines.map(line => `- ${line}`).join('\n')}`;
  });
  return [`## ${name === '' ? 'General' : name}`, meaning, ...entries].join('\n\n');
}
