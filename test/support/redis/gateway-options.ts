import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import type { GatewayOptions } from '../../../src/cluster/redis/gateway.js';

/** A key prefix that no other test uses. */
export function randomPrefix(): string {
  return `t${randomBytes(6).toString('hex')}:`;
}

/** Settings of a gateway with a random prefix. */
export function gatewayOptions(
  redis: Partial<GatewayOptions['redis']>,
  rest: Partial<Omit<GatewayOptions, 'redis'>> = {},
): GatewayOptions {
  const prefix = randomPrefix();
  return {
    redis: {
      prefix,
      channel: `${prefix}events`,
      url: undefined,
      client: undefined,
      class: Redis,
      username: undefined,
      password: undefined,
      credentials: undefined,
      partitions: undefined,
      pubsub: 'classic',
      ...redis,
    },
    scriptCache: true,
    ...rest,
  };
}
