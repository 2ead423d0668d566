import type { Redis } from 'ioredis';
import { commandCost, type CommandCost } from '../support/redis/redis-costs.js';
import type { RedisServer } from '../support/redis/redis-server.js';

/** Looks over the shoulder of a Redis while nodes use it. */
export class RedisWatch {
  /** How often each command was called. */
  readonly commands = new Map<string, number>();

  private constructor(
    private readonly server: RedisServer,
    private readonly connections: readonly Redis[],
    monitor: Redis,
  ) {
    monitor.on('monitor', (_time: string, [name = '']: string[]) => {
      const command = name.toUpperCase();
      this.commands.set(command, (this.commands.get(command) ?? 0) + 1);
    });
  }

  /** @param slowMicros scripts and commands that took longer are kept */
  static async start(server: RedisServer, slowMicros: number): Promise<RedisWatch> {
    await server.admin.config('SET', 'slowlog-log-slower-than', String(slowMicros));
    await server.admin.config('SET', 'slowlog-max-len', '1000');
    const connection = server.admin.duplicate();
    const monitor = await connection.monitor();
    return new RedisWatch(server, [connection, monitor], monitor);
  }

  /** Milliseconds of each entry of the slow log, by the beginning of its command. */
  async slow(): Promise<string[]> {
    const entries = (await this.server.admin.slowlog('GET', 1000)) as [number, number, number, string[]][];
    return entries.map(([, , micros, words]) => {
      const command = words.slice(0, 3).join(' ').slice(0, 60);
      return `${(micros / 1000).toFixed(2)} ms: ${command}`;
    });
  }

  /** How long scripts took, by Redis' own count: with the time for which the machine gave its core to others. */
  scripts(): Promise<CommandCost> {
    return commandCost(this.server, 'evalsha');
  }

  /** Keys that never expire. */
  async immortal(): Promise<string[]> {
    const { admin } = this.server;
    const keys = await admin.keys('*');
    const ttls = await Promise.all(keys.map(key => admin.pttl(key)));
    return keys.filter((_, at) => ttls[at] === -1);
  }

  stop(): void {
    for (const connection of this.connections) connection.disconnect();
  }
}
