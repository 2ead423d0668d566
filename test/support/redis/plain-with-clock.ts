import type { Redis } from 'ioredis';
import { type PlainCommand, plainCommands } from '../../../src/cluster/redis/plain.js';
import type { ScriptValue } from '../../../src/cluster/redis/script.js';

const ALL_PLAIN = {
  redisAtomicEnabled: false,
  connectionRegistrationAtomic: false,
  connectionUnregistrationAtomic: false,
  expiredConnectionCleanupAtomic: false,
};

/** The registry's plain commands, which ask the clock of a `ScriptBench` instead of Redis. */
export function plainWithClock(): ReadonlyMap<string, PlainCommand> {
  return new Map(
    [...plainCommands(ALL_PLAIN)].map(([name, run]) => [
      name,
      (client, keys, args) => run(clocked(client as Redis, keys[0] ?? ''), keys, args),
    ]),
  );
}

function clocked(client: Redis, near: string): Redis {
  const pipeline = () => {
    const real = client.pipeline();
    const timed = new Set<number>();
    let calls = 0;
    return {
      call(name: string, ...args: ScriptValue[]) {
        if (name === 'TIME') {
          timed.add(calls);
          real.get(near.replace(/[^:]+$/, 'clock'));
        } else real.call(name, ...args);
        calls += 1;
      },
      async exec() {
        const answers = (await real.exec()) ?? [];
        return answers.map(([error, answer], at) => [error, timed.has(at) ? timeOf(Number(answer)) : answer]);
      },
    };
  };
  // As much of a client as plain commands use.
  return { pipeline } as unknown as Redis;
}

function timeOf(ms: number): string[] {
  return [String(Math.floor(ms / 1_000)), String((ms % 1_000) * 1_000)];
}
