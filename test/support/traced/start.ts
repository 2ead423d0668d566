/**
 * Loaded with `--import` in front of an application, as the instrumentations of OpenTelemetry want it: the SDK with those of
 * HTTP and ioredis, and their loader for ES modules. Commands of Redis are shown whole. The standard variables say what is
 * exported, and where.
 */
import { register } from 'node:module';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { IORedisInstrumentation } from '@opentelemetry/instrumentation-ioredis';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { sseResponseHook } from '../../../src/index.js';

register('@opentelemetry/instrumentation/hook.mjs', import.meta.url);
const sdk = new NodeSDK({
  instrumentations: [
    new HttpInstrumentation({ responseHook: sseResponseHook }),
    new IORedisInstrumentation({
      requireParentSpan: false,
      dbStatementSerializer: (name, args) => [name, ...args].join(' '),
    }),
  ],
});
sdk.start();
process.once('SIGTERM', () => {
  void sdk.shutdown().finally(() => process.exit());
});
