/**
 * Runs the clients of `examples/clients` whose tools are on this machine. Each has to print 100 events in order, once, while its
 * connection breaks, an attempt is refused, and its node drains. Exits with 1 when one does not.
 */
import { build, PROGRAMS } from './programs.js';
import { follow } from './scenario.js';

const failures: string[] = [];
const skipped: string[] = [];
const built = new Map<string, string | undefined>();
for (const program of PROGRAMS) {
  const { name, language } = program;
  if (!built.has(language)) built.set(language, build(language));
  const reason = built.get(language);
  if (reason !== undefined) {
    skipped.push(name);
    console.log(`skipped  ${name}: ${reason}`);
    continue;
  }
  try {
    await follow(program);
    console.log(`ok       ${name}`);
  } catch (error) {
    failures.push(name);
    console.log(`FAILED   ${name}: ${String(error)}`);
  }
}
const passed = PROGRAMS.length - failures.length - skipped.length;
console.log(`${passed} passed, ${failures.length} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`);
process.exit(failures.length === 0 ? 0 : 1);
