import type { EventEmitter } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Socket } from 'node:net';

type Listener = () => void;

/** Private fields that Node's HTTP server sets on a socket. Only this file reads them. */
type HttpSocket = Socket & {
  server?: Server & { httpAllowHalfOpen?: boolean };
  parser?: object | null;
  _httpMessage?: ServerResponse | null;
  _paused?: boolean;
};

/** Releases whose HTTP server this file is tested with. */
const KNOWN_MAJORS: ReadonlySet<number> = new Set([20, 22, 24, 26]);
const KNOWN = KNOWN_MAJORS.has(Number.parseInt(process.versions.node, 10));
// The HTTP server gives each of its sockets methods that look after the parser.
const METHODS = ['on', 'addListener', 'prependListener', 'setEncoding'] as const;

const detachedOf = new WeakMap<Server, Set<Socket>>();

/**
 * Frees what Node's HTTP server holds for a response that has become a stream, several kilobytes per connection: the parser,
 * its listeners, the request and the response. Bytes that the client sends from now on are dropped. The client's end is
 * handled as before, `closeAllConnections` still reaches the socket, and listeners of the response still get `close`.
 *
 * @returns false, and nothing was changed, where this is not the plain HTTP/1 connection of a known release of Node, or
 * its request is still on the way
 */
export function detachSocket(
  request: IncomingMessage,
  response: ServerResponse,
  socket: Socket,
): boolean {
  const http: HttpSocket = socket;
  const { server } = http;
  // A destroyed request was read to its end; the server has no request to abort then.
  if (!KNOWN || !request.complete || !request.destroyed || server === undefined) return false;
  if (Object.getPrototypeOf(socket) !== Socket.prototype || http._httpMessage !== response)
    return false;
  if (http.parser == null || http._paused === true || socket.destroyed) return false;
  const close = listener(http, 'close', 'bound socketOnClose');
  const closeToo = listener(http, 'close', 'onServerResponseClose');
  const data = listener(http, 'data', 'bound socketOnData');
  const end = listener(http, 'end', 'bound socketOnEnd');
  const drain = listener(http, 'drain', 'bound socketOnDrain');
  const finish = listener(response, 'finish', 'bound resOnFinish');
  if (!close || !closeToo || !data || !end || !drain || !finish) return false;

  socket.on('data', drop);
  // The server's own steps when a connection closes: it frees the parser and removes the socket from its lists. The error
  // of the aborted request has no reader, so the error needs no stack.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  close();
  Error.stackTraceLimit = stackTraceLimit;
  socket.off('close', close).off('data', data).off('end', end).off('drain', drain);
  if (server.httpAllowHalfOpen !== true) socket.allowHalfOpen = false;
  response.off('finish', finish).on('finish', endSocket);
  // Assigned, since a deleted property would turn the socket into a dictionary.
  for (const name of METHODS) Reflect.set(socket, name, Reflect.get(Socket.prototype, name));
  if (response.listenerCount('close') === 0) {
    http._httpMessage = null;
    socket.off('close', closeToo);
    response.on('newListener', emitCloseToLateListener);
  }
  keep(server, socket);
  return true;
}

/** One of the server's own listeners. */
function listener(emitter: EventEmitter, event: string, name: string): Listener | undefined {
  // Node types them as functions of anything; these are called with nothing here.
  const all = emitter.rawListeners(event) as Listener[];
  return all.find(each => each.name === name);
}

// Shared by all sockets, so that a connection costs no closure.
function drop(): void {
  // A client sends nothing in an event stream.
}

function endSocket(this: ServerResponse): void {
  this.socket?.destroySoon();
}

function emitCloseToLateListener(this: ServerResponse, event: string | symbol): void {
  if (event !== 'close') return;
  this.off('newListener', emitCloseToLateListener);
  this.socket?.once('close', () => this.emit('close'));
}

/** The server knows its connections by their parsers. This set keeps the sockets without one. */
function keep(server: Server, socket: Socket): void {
  let detached = detachedOf.get(server);
  if (detached === undefined) {
    const sockets = new Set<Socket>();
    detached = sockets;
    detachedOf.set(server, sockets);
    const closeOthers = server.closeAllConnections.bind(server);
    server.closeAllConnections = () => {
      closeOthers();
      for (const one of sockets) one.destroy();
    };
  }
  detached.add(socket);
  socket.on('close', forget);
}

function forget(this: HttpSocket): void {
  if (this.server !== undefined) detachedOf.get(this.server)?.delete(this);
}
