const PATTERN = /^[\x20-\x7e]{1,1024}$/;

/** Trace context as it may travel between nodes; '' when it is none. */
export function traceText(trace: string | undefined): string {
  return trace !== undefined && PATTERN.test(trace) ? trace : '';
}

/** The trace context that a frame carries, if any. */
export function traceOf(text: string): string | undefined {
  return PATTERN.test(text) ? text : undefined;
}
