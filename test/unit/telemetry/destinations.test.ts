import { expect } from 'chai';
import {
  completeVariables,
  describeDestinations,
  isTelemetryWanted,
} from '../../../examples/05-telemetry/destinations.js';

const [ENDPOINT, TRACES, METRICS] = ['', '_TRACES', '_METRICS'].map(kind => `OTEL_EXPORTER_OTLP${kind}_ENDPOINT`) as [
  string,
  string,
  string,
];
const LOGS = { OTEL_LOGS_EXPORTER: 'none' };

interface Case {
  readonly env: Readonly<Record<string, string>>;
  readonly added?: Readonly<Record<string, string>>;
  readonly line: string;
}

describe('the standard variables of OpenTelemetry in the examples', () => {
  const cases: Readonly<Record<string, Case>> = {
    'an endpoint is the base of both addresses': {
      env: { [ENDPOINT]: 'https://o.test/otlp' },
      line: 'traces to https://o.test/otlp/v1/traces (http/protobuf), metrics to https://o.test/otlp/v1/metrics (http/protobuf)',
    },
    'an endpoint for traces alone exports traces alone, to the address as it is': {
      env: { [TRACES]: 'http://o.test/x' },
      added: { OTEL_METRICS_EXPORTER: 'none' },
      line: 'traces to http://o.test/x (http/protobuf), metrics to none',
    },
    'an endpoint for metrics alone exports metrics alone': {
      env: { [METRICS]: 'http://o.test/x' },
      added: { OTEL_TRACES_EXPORTER: 'none' },
      line: 'traces to none, metrics to http://o.test/x (http/protobuf)',
    },
    'metrics may be switched off': {
      env: { [ENDPOINT]: 'http://o.test', OTEL_METRICS_EXPORTER: 'none' },
      line: 'traces to http://o.test/v1/traces (http/protobuf), metrics to none',
    },
    'an endpoint without a scheme gets http': {
      env: { [ENDPOINT]: 'o.test:4318', [TRACES]: 'o.test:1/x' },
      added: { [ENDPOINT]: 'http://o.test:4318', [TRACES]: 'http://o.test:1/x' },
      line: 'traces to http://o.test:1/x (http/protobuf), metrics to http://o.test:4318/v1/metrics (http/protobuf)',
    },
    'gRPC has one address for both, and needs no scheme': {
      env: { [ENDPOINT]: 'o.test:4317', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      line: 'traces to o.test:4317 (grpc), metrics to o.test:4317 (grpc)',
    },
    'each kind may have its own protocol': {
      env: { [ENDPOINT]: 'http://o.test:4317', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'grpc' },
      line: 'traces to http://o.test:4317 (grpc), metrics to http://o.test:4317/v1/metrics (http/protobuf)',
    },
    'an exporter that is no OTLP stands for itself': {
      env: { OTEL_TRACES_EXPORTER: 'console' },
      added: { OTEL_METRICS_EXPORTER: 'none' },
      line: 'traces to console, metrics to none',
    },
    'credentials and a query are not printed': {
      env: { [TRACES]: 'http://me:secret@o.test/x?key=secret' },
      added: { OTEL_METRICS_EXPORTER: 'none' },
      line: 'traces to http://o.test/x (http/protobuf), metrics to none',
    },
  };
  for (const [fact, { env, added = {}, line }] of Object.entries(cases)) {
    it(fact, () => {
      expect(isTelemetryWanted(env)).to.equal(true);
      expect(completeVariables(env)).to.deep.equal({ ...LOGS, ...added });
      expect(describeDestinations({ ...env, ...added })).to.equal(line);
    });
  }

  it('ask for no telemetry when they are absent, empty, or switch it off', () => {
    const off = [{}, { [ENDPOINT]: ' ' }, { OTEL_TRACES_EXPORTER: 'none' }];
    expect(off.map(isTelemetryWanted)).to.deep.equal([false, false, false]);
    expect(isTelemetryWanted({ [ENDPOINT]: 'http://o.test', OTEL_SDK_DISABLED: 'TRUE' })).to.equal(false);
  });

  it('leave an explicit choice for logs, and name the default addresses', () => {
    expect(completeVariables({ OTEL_LOGS_EXPORTER: 'otlp' })).to.deep.equal({});
    expect(describeDestinations({})).to.equal(
      'traces to http://localhost:4318/v1/traces (http/protobuf), metrics to http://localhost:4318/v1/metrics (http/protobuf)',
    );
  });
});
