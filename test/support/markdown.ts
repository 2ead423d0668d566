/** A table in Markdown. */
export function markdownTable(head: readonly unknown[], rows: readonly (readonly unknown[])[]): string {
  return [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n');
}
