/**
 * Compiles a topic name in which `*` stands for any characters, none included; every other
 * character stands for itself. The returned function needs time proportional to the topic for each
 * star at worst, however the pattern is made.
 */
export function topicPattern(pattern: string): (topic: string) => boolean {
  const [head = '', ...rest] = pattern.split('*');
  const tail = rest.pop();
  if (tail === undefined) return topic => topic === pattern;
  return topic => {
    const end = topic.length - tail.length;
    if (end < head.length || !topic.startsWith(head) || !topic.endsWith(tail)) return false;
    // The leftmost place for a piece leaves the most room for the next: no choice is taken back.
    let from = head.length;
    for (const piece of rest) {
      const found = topic.indexOf(piece, from);
      if (found === -1 || found + piece.length > end) return false;
      from = found + piece.length;
    }
    return true;
  };
}
