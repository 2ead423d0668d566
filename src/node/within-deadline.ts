import type { SendResult } from '../contracts/events.js';
import type { OperationKind, ResiliencePolicy } from '../contracts/policy.js';
import { SseError } from '../errors.js';

/** Whether something was given to the cluster, so that it may have arrived although no answer came. */
interface Handover {
  over: boolean;
}

/** What is certain of something without an answer. */
export function unanswered({ over }: Handover): SendResult {
  return { outcome: over ? 'unknown' : 'unavailable' };
}

/** Answers within the deadline, in milliseconds, whatever the cluster and the policy do. */
export async function withinDeadline(
  policy: ResiliencePolicy,
  kind: OperationKind,
  deadline: number,
  attempt: (handover: Handover, gaveUp: AbortSignal) => Promise<SendResult>,
): Promise<SendResult> {
  const gaveUp = new AbortController();
  const handover: Handover = { over: false };
  const answer = policy.execute(kind, () => attempt(handover, gaveUp.signal), gaveUp.signal);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<SendResult>(resolve => {
    timer = setTimeout(() => {
      resolve(unanswered(handover));
      gaveUp.abort();
    }, deadline);
  });
  try {
    return await Promise.race([answer, late]);
  } catch (error) {
    if (SseError.is(error, 'UNAVAILABLE')) return unanswered(handover);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Waits for `work`, but no longer than so many milliseconds; it goes on by itself then, and its failure is nobody's.
 * Rejects with its failure if that comes in time.
 */
export async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>(resolve => {
    timer = setTimeout(resolve, Math.max(0, ms));
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
