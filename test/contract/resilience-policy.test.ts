import { PassthroughPolicy } from '../../src/resilience/passthrough-policy.js';
import { resiliencePolicyContract } from './resilience-policy.contract.js';

resiliencePolicyContract('PassthroughPolicy', () => new PassthroughPolicy());
