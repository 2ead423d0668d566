/**
 * The text of a script with one piece of code replaced. The piece is found by its words, so that lines, spaces and comments
 * may change.
 *
 * @throws Error unless the script has the piece exactly once
 */
export function mutateLua(text: string, find: string, replace: string): string {
  const code = wordsOf(text);
  const wanted = wordsOf(find).map(({ word }) => word);
  const found = [...code.keys()].filter(at => wanted.every((word, n) => code[at + n]?.word === word));
  const first = code[found[0] ?? -1];
  const last = code[(found[0] ?? 0) + wanted.length - 1];
  if (first === undefined || last === undefined || found.length > 1) {
    throw new Error(`the script must have '${find}' once, got it ${found.length} times`);
  }
  return text.slice(0, first.from) + replace + text.slice(last.to);
}

/** Words, numbers, strings and signs of Lua, without white space and comments. */
function wordsOf(text: string) {
  const words = text.matchAll(
    /--.*|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[A-Za-z_]\w*|[\d.]*\d|\.{2,3}|[=~<>]=|[^\s\w]/g,
  );
  return [...words]
    .filter(([word]) => !word.startsWith('--'))
    .map(({ 0: word, index: from }) => ({ word, from, to: from + word.length }));
}
