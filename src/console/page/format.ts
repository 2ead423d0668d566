const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

/** What stands for a value that is not known. */
export const UNKNOWN = '–';

/** A count or a rate. */
export function count(value: number | null): string {
  if (value === null) return UNKNOWN;
  return Math.abs(value) < 10 ? tenth.format(value) : whole.format(value);
}

export function bytes(value: number | null): string {
  if (value === null) return UNKNOWN;
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let [amount, at] = [value, 0];
  while (amount >= 1024 && at < units.length - 1) [amount, at] = [amount / 1024, at + 1];
  return `${count(amount)} ${units[at] ?? ''}`;
}

/** A duration given in milliseconds. */
export function duration(ms: number | null): string {
  if (ms === null) return UNKNOWN;
  if (ms < 1_000) return `${count(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 60) return `${count(seconds)} s`;
  const minutes = seconds / 60;
  if (minutes < 60) return `${whole.format(Math.floor(minutes))} min`;
  const hours = minutes / 60;
  if (hours < 48) return `${whole.format(Math.floor(hours))} h ${whole.format(Math.floor(minutes % 60))} min`;
  return `${whole.format(Math.floor(hours / 24))} d`;
}

/** Time of day with milliseconds. */
export function clock(at: number): string {
  const date = new Date(at);
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()];
  const text = parts.map(part => String(part).padStart(2, '0')).join(':');
  return `${text}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** Which colour an outcome has. */
export function outcomeTone(outcome: string | null): string {
  switch (outcome) {
    case 'confirmed':
    case 'delivered':
    case 'stored':
    case 'routed':
      return 'good';
    case 'buffered':
      return 'warn';
    case null:
      return 'idle';
    default:
      return 'bad';
  }
}

/** `1 node`, `2 nodes`. */
export function plural(number: number, noun: string): string {
  return `${whole.format(number)} ${noun}${number === 1 ? '' : 's'}`;
}

/** The text of an error for a person. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
