import type { Redis } from 'ioredis';

/** What a Redis did for some work. */
export interface RedisUse {
  /** Microseconds of processor time. */
  readonly cpuUs: number;
  /** Those that scripts call included. */
  readonly commands: number;
  readonly scripts: number;
}

/** Measures what work costs a Redis of the benchmark's own. */
export class RedisMeter {
  constructor(private readonly admin: Redis) {}

  async during(work: () => Promise<unknown>): Promise<RedisUse> {
    const before = await this.#read();
    await work();
    const after = await this.#read();
    return {
      cpuUs: after.cpuUs - before.cpuUs,
      // One of them asked for the figures.
      commands: after.commands - before.commands - 1,
      scripts: after.scripts - before.scripts,
    };
  }

  async #read(): Promise<RedisUse> {
    const text = await this.admin.info('everything');
    const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0);
    const cpu = (kind: string): number => number(new RegExp(`^used_cpu_${kind}:([\\d.]+)`, 'm'));
    return {
      cpuUs: (cpu('user') + cpu('sys')) * 1e6,
      commands: number(/^total_commands_processed:(\d+)/m),
      scripts: number(/^cmdstat_evalsha:calls=(\d+)/m) + number(/^cmdstat_eval:calls=(\d+)/m),
    };
  }
}
