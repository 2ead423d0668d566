import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { freePort, type Processes } from '../02-cluster/processes.js';

/** The version that `.ci/jaeger` builds. */
const VERSION = '1.76.0';
const IMAGE = 'jaegertracing/jaeger:2.11.0';

/** Where a Jaeger listens. */
export interface JaegerAddress {
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly otlp: string;
  /** Its page and its API. */
  readonly query: string;
}

/**
 * A Jaeger, or why there is none. The first of these that there is:
 *
 * - `JAEGER_URL`, the address of its page; OTLP over HTTP goes to port 4318 of that host, or to `JAEGER_OTLP_URL`;
 * - `JAEGER_BIN`, the program `all-in-one` of Jaeger 1, or the one that `.ci/jaeger` has built;
 * - a container.
 */
export async function startJaeger(
  processes: Pick<Processes, 'startServer'>,
  env: NodeJS.ProcessEnv = process.env,
): Promise<JaegerAddress | string> {
  const { JAEGER_URL, JAEGER_OTLP_URL, JAEGER_BIN = cachedJaeger(env) } = env;
  if (JAEGER_URL) {
    const query = JAEGER_URL.replace(/\/$/, '');
    return { query, otlp: JAEGER_OTLP_URL ?? `http://${new URL(query).hostname}:4318` };
  }
  const [otlp, query] = [await freePort(), await freePort()];
  const address = { otlp: `http://127.0.0.1:${otlp}`, query: `http://127.0.0.1:${query}` };
  const ask = () => answers(`${address.query}/api/services`);
  const ways = [
    [JAEGER_BIN, binaryOptions(otlp, query)],
    ['docker', ['run', '--rm', '-p', `127.0.0.1:${otlp}:4318`, '-p', `127.0.0.1:${query}:16686`, IMAGE]],
  ] as const;
  for (const [program, args] of ways) {
    if (existsSync(program) || program === 'docker') {
      // It complains of its age, and that it cannot trace itself.
      if (await processes.startServer(program, args, ask, 'ignore')) return address;
    }
  }
  return `no Jaeger: build one with .ci/jaeger, which needs Go, or start Docker, or set JAEGER_URL or JAEGER_BIN`;
}

/** The program that `.ci/jaeger` has built, or would build. */
function cachedJaeger({ XDG_CACHE_HOME }: NodeJS.ProcessEnv): string {
  return join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'distributed-sse', `jaeger-${VERSION}`);
}

function binaryOptions(otlp: number, query: number): string[] {
  const any = [
    'admin.http',
    'collector.grpc-server',
    'collector.http-server',
    'collector.otlp.grpc',
    'query.grpc-server',
  ];
  return [
    ...any.map(name => `--${name}.host-port=127.0.0.1:0`),
    `--collector.otlp.http.host-port=127.0.0.1:${otlp}`,
    `--query.http-server.host-port=127.0.0.1:${query}`,
    '--log-level=warn',
  ];
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}
