const LF = 0x0a;

/** Whether bytes of another node are exactly one block of event-stream text, so that they cannot end where they should not. */
export function isEventText(bytes: Buffer): boolean {
  return (
    bytes.length > 2 &&
    bytes[0] !== LF &&
    bytes.indexOf('\n\n') === bytes.length - 2 &&
    bytes.indexOf('\r') < 0
  );
}
