const CURSOR = /^([0-9a-z]{1,16})\.([0-9a-z]{1,11})-([0-9a-z]{1,11})$/;

/**
 * Whether the library's log gave both ids, in one epoch, and `id` does not come after `other`. Ids of an application's own
 * have no order, so the answer for them is `false`.
 */
export function isNotAfter(id: string, other: string): boolean {
  const a = CURSOR.exec(id);
  const b = CURSOR.exec(other);
  if (a === null || b === null || a[1] !== b[1]) return false;
  const ms = number(a[2]) - number(b[2]);
  return ms < 0 || (ms === 0 && number(a[3]) <= number(b[3]));
}

function number(digits = ''): number {
  return parseInt(digits, 36);
}
