import type { SendResult } from '../contracts/receipt.js';
import type { OperationKind, ResiliencePolicy } from '../contracts/resilience-policy.js';
import { SseError } from '../errors/sse-error.js';

/** Whether something was given to the cluster, so that it may have arrived although no answer came. */
export interface Handover {
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
