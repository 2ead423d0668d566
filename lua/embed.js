/** Writes the scripts of this folder into src/cluster/redis/lua.ts as text, so that a bundle has them. `npm run build` runs it. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const folder = new URL('./', import.meta.url);
const target = new URL('../src/cluster/redis/lua.ts', folder);
const names = readdirSync(folder)
  .filter(name => name.endsWith('.lua'))
  .map(name => name.slice(0, -'.lua'.length))
  .sort();
const entries = names.map(name => {
  const text = readFileSync(new URL(`${name}.lua`, folder), 'utf8');
  return `  ${JSON.stringify(name)}: ${JSON.stringify(text)},\n`;
});
const made = `// Made by \`npm run build\` (lua/embed.js) from lua/*.lua; do not edit.
/** The text of each script by its name. */
export const LUA: Readonly<Record<string, string>> = {
${entries.join('')}};
`;
// An unchanged file keeps its time, so that the compiler has nothing to do.
if (made !== readFileSync(target, { encoding: 'utf8', flag: 'a+' })) writeFileSync(target, made);
