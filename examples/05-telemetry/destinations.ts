/** The kinds of telemetry that the examples export. */
const SIGNALS = ['TRACES', 'METRICS'] as const;
type Signal = (typeof SIGNALS)[number];

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Whether a standard variable asks for telemetry: an endpoint or an exporter, for all kinds of it or for one.
 * `OTEL_SDK_DISABLED=true` wins.
 */
export function isTelemetryWanted(env: Variables): boolean {
  if (valueOf(env, 'OTEL_SDK_DISABLED')?.toLowerCase() === 'true') return false;
  return endpointOf(env) !== undefined || SIGNALS.some(signal => isNamed(env, signal));
}

/**
 * The variables that the SDK lacks. One kind of telemetry alone is exported where only its endpoint is named: the default
 * endpoint of the other would be refused for ever. An HTTP endpoint without a scheme gets `http://`.
 */
export function completeVariables(env: Variables): Record<string, string> {
  const added: Record<string, string> = {};
  // The examples make no log records.
  if (valueOf(env, 'OTEL_LOGS_EXPORTER') === undefined) added['OTEL_LOGS_EXPORTER'] = 'none';
  const shared = endpointOf(env);
  const partly = shared === undefined && SIGNALS.some(signal => isNamed(env, signal));
  for (const signal of SIGNALS) {
    if (partly && !isNamed(env, signal)) added[`OTEL_${signal}_EXPORTER`] = 'none';
    const [own, variable] = [endpointOf(env, signal), `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`];
    if (own !== undefined && protocolOf(env, signal) !== 'grpc') added[variable] = withScheme(own);
  }
  const overHttp = SIGNALS.some(signal => protocolOf(env, signal) !== 'grpc');
  if (shared !== undefined && overHttp) added['OTEL_EXPORTER_OTLP_ENDPOINT'] = withScheme(shared);
  return Object.fromEntries(Object.entries(added).filter(([name, value]) => env[name] !== value));
}

/** Where each kind of telemetry goes, for one line of a log: no credentials, no query. */
export function describeDestinations(env: Variables): string {
  return SIGNALS.map(signal => `${signal.toLowerCase()} to ${destination(env, signal)}`).join(', ');
}

function destination(env: Variables, signal: Signal): string {
  const exporters = valueOf(env, `OTEL_${signal}_EXPORTER`) ?? 'otlp';
  if (!exporters.split(',').some(name => name.trim() === 'otlp')) return exporters;
  const protocol = protocolOf(env, signal);
  const [own, shared] = [endpointOf(env, signal), endpointOf(env)];
  if (protocol === 'grpc') return `${shown(own ?? shared ?? 'http://localhost:4317')} (grpc)`;
  const base = (shared ?? 'http://localhost:4318').replace(/\/?$/, '/');
  return `${shown(own ?? `${base}v1/${signal.toLowerCase()}`)} (${protocol})`;
}

function shown(endpoint: string): string {
  try {
    const { protocol, host, pathname } = new URL(endpoint);
    return host === '' ? endpoint : `${protocol}//${host}${pathname === '/' ? '' : pathname}`;
  } catch {
    return endpoint;
  }
}

function withScheme(endpoint: string): string {
  return /^[a-z][a-z\d+.-]*:\/\//i.test(endpoint) ? endpoint : `http://${endpoint}`;
}

function isNamed(env: Variables, signal: Signal): boolean {
  const exporter = valueOf(env, `OTEL_${signal}_EXPORTER`);
  return exporter === undefined ? endpointOf(env, signal) !== undefined : exporter !== 'none';
}

function endpointOf(env: Variables, signal?: Signal): string | undefined {
  return valueOf(env, signal === undefined ? 'OTEL_EXPORTER_OTLP_ENDPOINT' : `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`);
}

function protocolOf(env: Variables, signal: Signal): string {
  const own = valueOf(env, `OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`);
  return own ?? valueOf(env, 'OTEL_EXPORTER_OTLP_PROTOCOL') ?? 'http/protobuf';
}

/** The standard has an empty variable mean the same as none. */
function valueOf(env: Variables, name: string): string | undefined {
  const value = env[name]?.trim();
  return value === '' ? undefined : value;
}
