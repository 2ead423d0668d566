/** Longest trace text that a message or publication carries. */
export const MAX_TRACE_CHARACTERS = 1024;

const PRINTABLE = /^[\x20-\x7e]+$/;

/** The trace text if a coordinator may pass it on, else `undefined`: losing it costs a link in a trace, never an event. */
export function carriedTrace(trace: string | undefined): string | undefined {
  if (trace === undefined || trace.length > MAX_TRACE_CHARACTERS) return undefined;
  return PRINTABLE.test(trace) ? trace : undefined;
}
