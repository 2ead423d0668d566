import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** A key pair as servers take it. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

let made: Promise<Certificate> | undefined;

/** A certificate for `localhost` that is not trusted, made once per process by the machine's `openssl`. */
export function selfSigned(): Promise<Certificate> {
  made ??= make();
  return made;
}

async function make(): Promise<Certificate> {
  const { stdout } = await promisify(execFile)('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-days', '1', '-subj', '/CN=localhost', '-keyout', '-', '-out', '-'],
  ]);
  return { key: block(stdout, 'PRIVATE KEY'), cert: block(stdout, 'CERTIFICATE') };
}

function block(pem: string, name: string): string {
  const match = new RegExp(`-----BEGIN ${name}-----[^-]+-----END ${name}-----\\n`).exec(pem);
  if (match === null) throw new Error(`openssl printed no ${name}`);
  return match[0];
}
