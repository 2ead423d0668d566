import type { InconsistencyKind } from '../contracts/consistency.js';

/** A connection and its route that do not say the same, as one look showed them. */
export interface Difference {
  readonly kind: InconsistencyKind;
  readonly connectionId: string;
  /** Of the connection here; of the route where there is none. */
  readonly token: string;
}

/**
 * The differences that two looks show, `settle` milliseconds apart. What is on its way, an opening or a release without an
 * answer yet, is seen half done by one look.
 */
export async function lastingDifferences<D extends Difference>(
  look: () => Promise<readonly D[]>,
  settle: number,
): Promise<readonly D[]> {
  const before = new Set((await look()).map(nameOf));
  if (before.size === 0) return [];
  await new Promise(resolve => setTimeout(resolve, settle).unref());
  return (await look()).filter(difference => before.has(nameOf(difference)));
}

function nameOf({ kind, connectionId, token }: Difference): string {
  return `${kind} ${token} ${connectionId}`;
}
