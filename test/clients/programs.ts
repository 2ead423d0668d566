import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SOURCES = join(ROOT, 'examples/clients');
const BUILT = join(ROOT, 'dist/clients');

/** A client of another language. */
export interface ClientProgram {
  readonly name: string;
  /** Whose tools it needs. */
  readonly language: Language;
  /** Program and arguments; the URL follows. */
  readonly command: readonly [string, ...string[]];
}

/** A language, by the program that builds its clients. */
export type Language = keyof typeof BUILDS;

const BUILDS = {
  python3: buildPython,
  go: () => run('go', ['build', '-o', `${join(BUILT, 'go')}/`, './...'], 'go'),
  mvn: () => run('mvn', ['-q', 'package', 'dependency:copy-dependencies'], 'java'),
  cargo: () => run('cargo', ['build', '--release', '--quiet', '--target-dir', join(BUILT, 'rust')], 'rust'),
};

const PYTHON = join(BUILT, 'python/bin/python');
const CLASS_PATH = ['classes', 'dependency/*'].map(path => join(SOURCES, 'java/target', path)).join(':');
const python = (file: string): ClientProgram['command'] => [PYTHON, join(SOURCES, 'python', file)];
const java = (name: string): ClientProgram['command'] => ['java', '-cp', CLASS_PATH, name];

/** Every client of `examples/clients`. */
export const PROGRAMS: readonly ClientProgram[] = [
  { name: 'httpx-sse', language: 'python3', command: python('with_httpx_sse.py') },
  { name: 'requests with sseclient-py', language: 'python3', command: python('with_requests.py') },
  { name: 'aiohttp-sse-client', language: 'python3', command: python('with_aiohttp_sse_client.py') },
  { name: 'tmaxmax/go-sse', language: 'go', command: [join(BUILT, 'go/go-sse')] },
  { name: 'r3labs/sse', language: 'go', command: [join(BUILT, 'go/r3labs')] },
  { name: 'okhttp-eventsource', language: 'mvn', command: java('LaunchDarkly') },
  { name: 'okhttp-sse', language: 'mvn', command: java('OkHttpSse') },
  { name: 'the HTTP client of the JDK', language: 'mvn', command: java('Jdk') },
  { name: 'eventsource-client', language: 'cargo', command: [join(BUILT, 'rust/release/client')] },
];

/** Builds the clients of a language. Returns why that is not possible, or `undefined`. */
export function build(language: Language): string | undefined {
  try {
    execFileSync('which', [language], { stdio: 'ignore' });
  } catch {
    return `${language} is not on this machine`;
  }
  mkdirSync(BUILT, { recursive: true });
  BUILDS[language]();
  return undefined;
}

function buildPython(): void {
  if (!existsSync(PYTHON)) {
    rmSync(join(BUILT, 'python'), { recursive: true, force: true });
    run('python3', ['-m', 'venv', join(BUILT, 'python')], 'python');
  }
  run(PYTHON, ['-m', 'pip', 'install', '--quiet', '--requirement', 'requirements.txt'], 'python');
}

function run(program: string, argv: readonly string[], folder: string): void {
  execFileSync(program, argv, { cwd: join(SOURCES, folder), stdio: ['ignore', 'inherit', 'inherit'] });
}
