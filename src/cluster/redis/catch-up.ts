import type { Cursor } from '../../contracts/frame.js';
import type { Hole } from '../../contracts/hole.js';
import { isAfter } from '../../protocol/cursor.js';
import { gapHole } from '../gap-hole.js';
import type { LogEntry, LogPage, LogReader } from './log-reader.js';

const PAGE_ENTRIES = 500;

/** Whom a catch-up tells, in the order of the log. */
export interface CatchUpEvents {
  onEntry(entry: LogEntry): void;
  onHole(hole: Hole): void;
  /** Everything up to here was handed on: after a failure, go on from here. */
  onPosition(position: Cursor): void;
}

/**
 * Hands on what was published after a place up to the tip of the first page, whatever comes meanwhile, and each hole where
 * it begins. Resolves to where it ended. @throws SseError
 */
export async function catchUp(
  reader: LogReader,
  topics: () => readonly string[],
  place: Cursor,
  events: CatchUpEvents,
): Promise<Cursor> {
  let from = place;
  let goal: Cursor | undefined;
  for (;;) {
    const page = await reader.read(topics(), from, PAGE_ENTRIES);
    const { tip, lost, upto, entries } = page;
    if (lost === 'AHEAD') {
      // It may have come past it meanwhile.
      if (!isAfter(from, tip)) continue;
      // What is left was handed on before.
      events.onHole({ reason: lost, topics: undefined, resumedFrom: tip, until: tip });
      events.onPosition(tip);
      return tip;
    }
    goal = lost === undefined ? (goal ?? tip) : tip;
    const resumedFrom = startOf(page);
    // In another log this concerns only who is in it already; everybody else is told of the former one's end.
    const gap = gapHole(page.gaps, resumedFrom);
    if (gap !== undefined) events.onHole(gap);
    if (lost !== undefined) {
      events.onHole({ reason: lost, topics: undefined, resumedFrom, until: resumedFrom });
    }
    for (const entry of entries) if (!isAfter(entry.position, goal)) events.onEntry(entry);
    from = isAfter(upto, goal) ? goal : { epoch: tip.epoch, ms: upto.ms, sequence: upto.sequence };
    events.onPosition(from);
    // Also when it never reaches the goal, because the log lost its end meanwhile.
    if (!isAfter(goal, upto) || !isAfter(tip, upto)) return from;
  }
}

/** Just before the first entry that is there, so that a client that leaves now gets that entry later. */
function startOf({ tip, upto, entries }: LogPage): Cursor {
  const [first] = entries;
  if (first === undefined) return { epoch: tip.epoch, ms: upto.ms, sequence: upto.sequence };
  const { epoch, ms, sequence } = first.position;
  return { epoch, ms, sequence: sequence - 1 };
}
