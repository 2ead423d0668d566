const IN_FLIGHT = 50;

/** Does a job so many times, fifty at a time; resolves when all are done. */
export async function inFlight(count: number, job: (index: number) => Promise<unknown>): Promise<void> {
  let started = 0;
  const worker = async (): Promise<void> => {
    while (started < count) {
      started += 1;
      await job(started - 1);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}
