import type { CloseReason, LibraryCloseReason } from '../contracts/close-reason.js';

const LIBRARY: Readonly<Record<LibraryCloseReason, true>> = {
  client: true,
  superseded: true,
  slow: true,
  stale: true,
  expired: true,
  'max-age': true,
  completed: true,
  failed: true,
  gap: true,
  draining: true,
  shutdown: true,
  closed: true,
};

/** A close reason as a metric may name it: an application's own reasons are one, since nobody bounds their number. */
export function countedReason(reason: CloseReason): LibraryCloseReason | 'custom' {
  return isLibrary(reason) ? reason : 'custom';
}

function isLibrary(reason: CloseReason): reason is LibraryCloseReason {
  return Object.hasOwn(LIBRARY, reason);
}
