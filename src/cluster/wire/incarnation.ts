import { randomBytes } from 'node:crypto';

const PATTERN = /^[A-Za-z0-9_.-]{1,80}~[0-9a-f]{20}$/;

/**
 * Names one life of a node: its id and 80 random bits, so that a process that is started again under the same id inherits
 * no rights from the one before.
 */
export function newIncarnation(nodeId: string): string {
  return `${nodeId}~${randomBytes(10).toString('hex')}`;
}

/** Whether text from elsewhere can be an incarnation. */
export function isIncarnation(text: string): boolean {
  return PATTERN.test(text);
}

/** The id of the node whose incarnation it is. */
export function nodeIdOf(incarnation: string): string {
  return incarnation.slice(0, incarnation.lastIndexOf('~'));
}
