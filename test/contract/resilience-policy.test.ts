import { resolveOptions } from '../../src/options/sse-options.js';
import { CockatielPolicy, PassthroughPolicy } from '../../src/resilience/policies.js';
import { resiliencePolicyContract } from '../../src/testing/contracts/resilience-policy.js';
import { MOCHA } from '../support/runner.js';

resiliencePolicyContract(MOCHA, 'PassthroughPolicy', () => new PassthroughPolicy());

resiliencePolicyContract(
  MOCHA,
  'CockatielPolicy',
  () =>
    new CockatielPolicy(
      resolveOptions({
        script: { retryInterval: 1 },
        atomicOperation: { luaScriptRetryInterval: 1 },
        reliability: { cleanupRetryInterval: 1 },
      }),
    ),
);
