/** Broadcasts are the entries of this topic of the log. */
export const EVERYONE = '*';

/** The topic that an entry was addressed to; broadcasts have none. */
export function addressed(topic: string): string | undefined {
  return topic === EVERYONE ? undefined : topic;
}
