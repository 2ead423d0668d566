import type { Cluster, Redis } from 'ioredis';
import type { ScriptValue } from '../script-definition.js';

/** A command and its arguments. */
export type Command = readonly [name: string, ...args: ScriptValue[]];

/** Sends commands together and resolves with their answers; the first that fails is the failure of all. */
export async function batch(
  client: Redis | Cluster,
  commands: readonly Command[],
): Promise<unknown[]> {
  const pipeline = client.pipeline();
  for (const [name, ...args] of commands) pipeline.call(name, ...args);
  const answers = (await pipeline.exec()) ?? [];
  return answers.map(([error, answer]) => {
    if (error !== null) throw error;
    return answer;
  });
}
