import { FrameSigner, RedisClock } from '../../../src/cluster/redis/signing.js';
import { resolveOptions } from '../../../src/options/sse-options.js';

/** A signer without a secret. */
export function unsigned(): FrameSigner {
  return signerOf(undefined, new RedisClock());
}

/** A signer of another node. */
export function signerOf(
  secret: string | readonly string[] | undefined,
  clock: ConstructorParameters<typeof FrameSigner>[2],
  inc = 'z~0123456789abcdef0123',
): FrameSigner {
  return new FrameSigner(inc, { ...resolveOptions().control, secret }, clock);
}
