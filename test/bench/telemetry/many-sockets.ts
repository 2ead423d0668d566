import { connect, type Socket } from 'node:net';

/**
 * Clients that take everything and look at nothing, in a process of their own. Asked by IPC for `{ port, count, path }`,
 * with `#` for the number of the client in the path; answers when all have got their first bytes. `{ leave: true }` ends
 * them all.
 */
type Request = { readonly port: number; readonly count: number; readonly path: string } | { readonly leave: true };

let sockets: Socket[] = [];

process.on('disconnect', () => process.exit());
process.on('message', (request: Request) => {
  void answer(request).then(() => process.send?.('done'));
});

async function answer(request: Request): Promise<void> {
  if ('leave' in request) {
    await Promise.all(sockets.map(leave));
    sockets = [];
    return;
  }
  const { port, count, path } = request;
  for (let from = 0; from < count; from += 100) {
    const numbers = Array.from({ length: Math.min(100, count - from) }, (_, n) => from + n);
    const opened = numbers.map(number => open(port, path.replace('#', String(number))));
    sockets.push(...(await Promise.all(opened)));
  }
}

async function open(port: number, path: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n`);
  await new Promise(resolve => socket.once('data', resolve));
  socket.resume();
  return socket;
}

function leave(socket: Socket): Promise<unknown> {
  const closed = new Promise(resolve => socket.once('close', resolve));
  socket.destroy();
  return closed;
}
