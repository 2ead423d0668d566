import type { Gap } from '../../src/contracts/events.js';

/** The reason of the gap in a page and its topics, without positions. */
export function gapIn({
  gap,
}: {
  readonly gap?: Gap | undefined;
}): { reason: Gap['reason']; topics: string[] | undefined } | undefined {
  return gap && { reason: gap.reason, topics: gap.topics && [...gap.topics.keys()] };
}
