import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { freePort, Program } from '../02-cluster/processes.js';

/** The version that `.ci/jaeger` builds. */
const VERSION = '1.76.0';
const IMAGE = 'jaegertracing/jaeger:2.11.0';

/** A Jaeger that runs: one of this program's own, or one that is there already. */
export class Jaeger extends Program {
  /**
   * @param otlp for `OTEL_EXPORTER_OTLP_ENDPOINT`
   * @param query its page and its API
   */
  private constructor(
    readonly otlp: string,
    readonly query: string,
  ) {
    super();
  }

  /**
   * A Jaeger, or why there is none. The first of these that there is:
   *
   * - `JAEGER_URL`, the address of its page; OTLP over HTTP goes to port 4318 of that host, or to `JAEGER_OTLP_URL`;
   * - `JAEGER_BIN`, the program `all-in-one` of Jaeger 1, or the one that `.ci/jaeger` has built;
   * - a container, by `docker`.
   */
  static async start(env: NodeJS.ProcessEnv = process.env, docker = 'docker'): Promise<Jaeger | string> {
    const { JAEGER_URL, JAEGER_OTLP_URL, JAEGER_BIN = cachedJaeger(env) } = env;
    if (JAEGER_URL) {
      return new Jaeger(
        JAEGER_OTLP_URL ?? `http://${new URL(JAEGER_URL).hostname}:4318`,
        JAEGER_URL.replace(/\/$/, ''),
      );
    }
    const [otlp, query] = [await freePort(), await freePort()];
    const jaeger = new Jaeger(`http://127.0.0.1:${otlp}`, `http://127.0.0.1:${query}`);
    const ask = () => answers(`${jaeger.query}/api/services`);
    const container = ['run', '--rm', '-p', `127.0.0.1:${otlp}:4318`, '-p', `127.0.0.1:${query}:16686`, IMAGE];
    const ways = [[docker, container]] as [program: string, args: readonly string[]][];
    if (existsSync(JAEGER_BIN)) ways.unshift([JAEGER_BIN, binaryOptions(otlp, query)]);
    for (const way of ways) {
      // It complains of its age, and that it cannot trace itself.
      if (await jaeger.serve(...way, ask, 'ignore')) return jaeger;
    }
    return `no Jaeger: build one with .ci/jaeger, which needs Go, or start Docker, or set JAEGER_URL or JAEGER_BIN`;
  }
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
