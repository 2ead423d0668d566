import { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import { publishCommand } from '../../../src/cluster/redis/keys.js';
import { countScript, publishScript } from '../../../src/cluster/redis/scripts.js';
import { SseError } from '../../../src/errors.js';
import { gatewayOptions } from './gateway-options.js';
import { scriptSource } from './script-source.js';

/** Gateways of the tests of a `describe`, closed after each, and calls to make through them. */
export function withGateways() {
  const gateways: RedisGateway[] = [];
  const make = (...args: Parameters<typeof gatewayOptions>) => {
    const [redis, rest] = args;
    const gateway = new RedisGateway(gatewayOptions(redis, { source: scriptSource('redis'), ...rest }));
    gateways.push(gateway);
    return gateway;
  };
  afterEach(async () => {
    await Promise.all(gateways.splice(0).map(gateway => gateway.close()));
  });
  const failure = async (promise: Promise<unknown>): Promise<SseError> => {
    const error: unknown = await promise.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!SseError.is(error)) throw new Error(`no SseError: ${String(error)}`);
    return error;
  };
  const count = (gateway: RedisGateway) =>
    gateway.run(countScript, { partition: gateway.keys.partitions[0]!, graceMs: 0 });
  const publish = (gateway: RedisGateway, payload = Buffer.from('x')) =>
    gateway.run(publishScript, {
      meta: gateway.keys.logMeta,
      metaMs: 5_000,
      newEpoch: 'e1',
      failoverJumpMs: 60_000,
      evicts: false,
      topic: gateway.keys.topic('a'),
      payload,
      maxEntries: 10,
      maxAgeMs: 0,
      streamMs: 5_000,
      pubCommand: publishCommand(gateway.keys.logMode),
      channel: gateway.keys.topicChannel('a'),
      idempotency: gateway.keys.logMeta,
      idempotencyMs: 0,
    });
  return { make, failure, count, publish };
}
