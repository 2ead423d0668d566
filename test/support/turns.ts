/** Lets everything run that waits for nothing but its turn, timers aside. Works under a fake clock. */
export async function turns(count = 5): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise(resolve => setImmediate(resolve));
}
