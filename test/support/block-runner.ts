/**
 * Runs programs of the documentation, one after the other, in a process of its own. On a message with a path it imports that
 * module and answers with the ports on which it listens, the lines that it printed, and its errors; without a path it answers
 * with those of the last program. A server keeps running. Each port is a free one, whatever the program asks for.
 */
import 'reflect-metadata';
import { once } from 'node:events';
import { Server, type AddressInfo, type ListenOptions } from 'node:net';
import { inspect } from 'node:util';

/** What became of a program so far. */
export interface ProgramRun {
  readonly ports: readonly number[];
  readonly printed: string;
  readonly errors: readonly string[];
}

let servers: Server[] = [];
let printed = '';
let errors: string[] = [];

// A program of a page names a port that may be in use.
const { listen } = Server.prototype;
Server.prototype.listen = function (this: Server, wanted?: unknown, ...others: unknown[]) {
  servers.push(this);
  const free: ListenOptions = typeof wanted === 'object' && wanted !== null ? { ...wanted, port: 0 } : { port: 0 };
  const callback = others.find(other => typeof other === 'function');
  return Reflect.apply(listen, this, callback === undefined ? [free] : [free, callback]) as Server;
} as Server['listen'];

console.log = (...values: unknown[]) => {
  printed += `${values.map(value => (typeof value === 'string' ? value : inspect(value))).join(' ')}\n`;
};
for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (error: unknown) => errors.push(inspect(error)));
}
// The parent is gone.
process.on('disconnect', () => process.exit());
process.on('message', ({ path }: { readonly path?: string }) => {
  void (path === undefined ? Promise.resolve() : start(path)).then(() => process.send?.(state()));
});

async function start(path: string): Promise<void> {
  [servers, printed, errors] = [[], '', []];
  await import(path).catch((error: unknown) => errors.push(inspect(error)));
  for (const server of servers) if (!server.listening) await once(server, 'listening');
}

function state(): ProgramRun {
  return { ports: servers.map(server => (server.address() as AddressInfo).port), printed, errors };
}
