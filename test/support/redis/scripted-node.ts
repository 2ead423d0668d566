import type { ClusterNode } from '../../../src/cluster/redis/cluster-node.js';
import type { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import { Keys } from '../../../src/cluster/redis/keys.js';
import { FrameSigner, RedisClock } from '../../../src/cluster/redis/signing.js';
import type { ClusterListener } from '../../../src/contracts/listener.js';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { RecordingListener } from '../recording-listener.js';
import { RecordingLogger } from '../recording-logger.js';

/** What a script is asked, and what it shall answer or throw. */
export type Answers = (script: string, request: Record<string, unknown>) => unknown;

/** A node whose Redis answers what a test says, for what no real one can be brought to. */
export function scriptedNode(
  answers: Answers,
  listener: ClusterListener = new RecordingListener(),
  partitions = 1,
): ClusterNode {
  const keys = new Keys({
    prefix: 't:',
    database: 0,
    channel: 't:events',
    partitions,
    pubsub: 'classic',
    cluster: false,
  });
  const gateway = {
    keys,
    reachable: true,
    obstacle: () => undefined,
    run: async ({ name }: { readonly name: string }, request: Record<string, unknown>) => answers(name, request),
  };
  const inc = `a~${'0'.repeat(20)}`;
  const options = resolveOptions({ node: { id: 'a' } });
  const clock = new RedisClock();
  return {
    nodeId: 'a',
    inc,
    options,
    clock,
    signer: new FrameSigner(inc, options.control, clock),
    // As much of a gateway as scripts need.
    gateway: gateway as unknown as RedisGateway,
    reading: gateway as unknown as RedisGateway,
    listener,
    logger: new RecordingLogger(),
    telemetry: new SilentTelemetry().maintenance,
  };
}
