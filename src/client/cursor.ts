const CURSOR = /^([0-9a-z]{1,16})\.([0-9a-z]{1,11})-([0-9a-z]{1,11})$/;

/**
 * Negative when `a` comes before `b` in the library's log, 0 when they are equal, positive otherwise. `NaN` for ids of two
 * epochs; `undefined` when the log gave only one of them, or none: ids of an application's own have no order.
 */
export function compareIds(a = '', b = ''): number | undefined {
  const one = CURSOR.exec(a);
  const other = CURSOR.exec(b);
  if (one === null || other === null) return undefined;
  if (one[1] !== other[1]) return NaN;
  return number(one[2]) - number(other[2]) || number(one[3]) - number(other[3]);
}

function number(digits = ''): number {
  return parseInt(digits, 36);
}
