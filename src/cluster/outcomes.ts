import type { CommandReceipt, SendResult } from '../contracts/events.js';
import type { RememberedOutcome } from '../contracts/listener.js';

/**
 * What is certain of a message, from what the nodes remember; `undefined` when it certainly was not delivered.
 * @param owner the node that was asked to deliver it; where it is not known, all nodes must know
 */
export function certainOutcome(
  answers: ReadonlyMap<string, RememberedOutcome>,
  owner: string | undefined,
): SendResult | undefined {
  for (const [nodeId, outcome] of answers) {
    if (outcome === 'delivered' || outcome === 'buffered') return { outcome, nodeId };
  }
  const asked = owner === undefined ? [...answers.values()] : [answers.get(owner)];
  if (asked.every(answer => answer === 'none')) return undefined;
  return { outcome: 'unknown', ...(owner !== undefined && { nodeId: owner }) };
}

/** The receipt of a command that its owner refused with this code; `undefined` for other codes. */
export function rejection(code: string): CommandReceipt | undefined {
  return code === 'INVALID_TOPIC' || code === 'FORBIDDEN' ? { outcome: 'rejected', code } : undefined;
}
