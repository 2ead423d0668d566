/**
 * Waits for `work`, but no longer than so many milliseconds; it goes on by itself then, and its failure is nobody's.
 * Rejects with its failure if that comes in time.
 */
export async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>(resolve => {
    timer = setTimeout(resolve, Math.max(0, ms));
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
