import type { SseService } from '../contracts/service.js';
import type { LocalConnection } from '../contracts/store.js';
import { SseError } from '../errors.js';
import { checkArguments } from '../options/arguments.js';
import { shownValue } from '../options/problems.js';
import { pause, withTimeout } from '../time.js';
import type { SseNode } from './node.js';
import type { ResumableSources } from './sources.js';

// Long enough for healthy sockets to take a last event, short enough not to delay the end of the process.
const FAREWELL_MS = 500;

// What remains of a drain is for telling that a source was given up, and for leaving the cluster.
const SOURCES_SHARE = 0.8;
const LEAVING_SHARE = 0.1;
const LONGEST_LEAVING_MS = 2000;

const WAVE_MS = 50;
// A cluster that does not answer must not hold up the clients; what it keeps of this node expires.
const RELEASE = 0.2;
const LONGEST_RELEASE_MS = 2000;
// What remains for sockets to take their last bytes when sources used the whole time.
const RESERVE = 0.2;
// Healthy clients are gone long before an impatient supervisor kills the process.
const LONGEST_SPREAD_MS = 8000;

/** Ends a node, gently or at once. Each happens once, however many callers ask. */
export class NodeShutdown {
  #draining: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    private readonly node: SseNode,
    private readonly sources: ResumableSources,
  ) {}

  /**
   * With `reliability.gracefulShutdown` off it closes.
   * @param timeout milliseconds after which it resolves, whatever does not answer; connections that are left are cut by then
   */
  drain(timeout: number): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    const { gracefulShutdown } = this.node.options.reliability;
    this.#draining ??= withTimeout(gracefulShutdown ? this.#drain(timeout) : this.close(), timeout, () =>
      this.#cutAll(),
    );
    return this.#draining;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** The time is over: on a busy machine it may be before the steps of a drain come to that. */
  #cutAll(): void {
    for (const connection of [...this.node.store.connections()]) connection.close('draining');
    this.node.cutDeparting();
  }

  async #drain(timeout: number): Promise<void> {
    this.node.beginDrain();
    const delay = Math.min(this.node.options.reconnect.drainDelay, timeout / 2);
    // Everything works meanwhile but new connections, so that a balancer can notice.
    if (delay > 0) await pause(delay);
    if (this.node.cluster.joined) {
      const left = timeout - delay;
      await this.node.telemetry.connections.draining(async () => {
        // Their followers are elsewhere soon, and hear the rest there.
        const finished = this.sources.ended(left * SOURCES_SHARE);
        const leaving = Math.min(left * LEAVING_SHARE, LONGEST_LEAVING_MS);
        await this.#sendAway(left - leaving);
        await finished;
      });
    }
    await this.close();
  }

  async #close(): Promise<void> {
    this.node.beginClose();
    const released = this.node.cluster.joined ? this.node.releaseRoutes() : undefined;
    for (const connection of [...this.node.store.connections()]) connection.close('shutdown');
    await this.node.departed(FAREWELL_MS);
    // Leaving the cluster releases what is left.
    if (released !== undefined) await withTimeout(released, FAREWELL_MS, () => undefined);
    await this.sources.stop();
    this.node.stop();
    await this.node.cluster.close();
  }

  /**
   * Sends the clients away without a storm: paced waves, each client with a reconnection time of its own, sources last.
   * @param timeout milliseconds until everything is cut
   */
  async #sendAway(timeout: number): Promise<void> {
    const deadline = performance.now() + timeout;
    const connections = [...this.node.store.connections()];
    // At once, so that none registers a route after the release.
    for (const connection of connections) {
      connection.goAway();
      if (connection.state.kind === 'opening') connection.close('draining');
    }
    await withTimeout(this.node.releaseRoutes(), Math.min(timeout * RELEASE, LONGEST_RELEASE_MS), () => undefined);
    const idle = connections.filter(({ state, piping }) => state.kind === 'open' && !piping);
    await this.#closeInWaves(idle, (deadline - performance.now()) * (1 - RESERVE));
    await this.#finishSources(deadline - timeout * RESERVE);
    await this.node.departed(Math.max(0, deadline - performance.now()));
    await this.#finishSends(deadline);
  }

  async #closeInWaves(connections: readonly LocalConnection[], time: number): Promise<void> {
    const spread = Math.min(LONGEST_SPREAD_MS, time);
    const paced = Math.ceil((this.node.options.reconnect.rate * WAVE_MS) / 1000);
    const forced = Math.ceil(connections.length / Math.max(1, Math.floor(spread / WAVE_MS)));
    const size = Math.max(1, paced, forced);
    for (let from = 0; from < connections.length; from += size) {
      if (from > 0) await pause(WAVE_MS);
      if (this.node.store.size === 0) return;
      for (const connection of connections.slice(from, from + size)) {
        if (!connection.piping) connection.close('draining');
      }
    }
  }

  async #finishSources(until: number): Promise<void> {
    const busy = (): boolean => [...this.node.store.connections()].some(({ piping }) => piping);
    while (busy() && performance.now() < until) await pause(WAVE_MS);
    for (const connection of [...this.node.store.connections()]) connection.close('draining');
  }

  /** Whoever sent something is still to learn what became of it. */
  async #finishSends(until: number): Promise<void> {
    while (this.node.pendingSends > 0 && performance.now() < until) await pause(WAVE_MS);
  }
}

// Longer than a last export of telemetry takes.
const AFTERWARDS_MS = 5_000;
// Most requests are answered by then; and half of what a supervisor usually waits before it kills the process is left.
const REQUESTS_MS = 10_000;
const LOOK_MS = 50;
// Connections may never cease to come.
const LONGEST_ACCEPT_MS = 1_000;

/** A server of `node:http`, `node:https` or `node:http2`, as far as its end needs it. */
export interface ClosableServer {
  close(onClosed?: (error?: Error) => void): unknown;
  on(
    event: 'session',
    listener: (session: { close(): void; once(event: 'close', gone: () => void): unknown }) => void,
  ): unknown;
  on(event: 'connection', listener: () => void): unknown;
  prependListener(
    event: 'request',
    listener: (
      request: { readonly httpVersionMajor: number },
      response: { setHeader(name: string, value: string): unknown },
    ) => void,
  ): unknown;
  /** Of HTTP/1. */
  closeIdleConnections?(): void;
}

/** Settings of {@link drainOnSignals}. */
export interface DrainOnSignalsOptions {
  /** Default `SIGTERM` and `SIGINT`. */
  readonly signals?: readonly NodeJS.Signals[];
  /**
   * The listener of the application. It stays open during the drain, and its answers end their connections, so that a balancer
   * sends the next request to another node. Then it closes, and requests that are under way have `requestsTimeout` to get
   * their answers. A function for a server that is made later; it may return `undefined`.
   */
  readonly server?: ClosableServer | (() => ClosableServer | undefined);
  /** Milliseconds that requests of `server` may take after the drain. Default 10000. */
  readonly requestsTimeout?: number;
  /** Ends what else the process has, telemetry for example, once the clients are gone and `server` is closed. It may take five seconds. */
  readonly afterwards?: () => unknown;
  /** Is called with the failure of a drain or of `afterwards`. Default: prints it. */
  readonly onError?: (error: unknown) => void;
}

/**
 * Ends the process as it should: at the first signal the service drains, within `reliability.gracefulShutdownTimeout`, the
 * server closes when its requests are answered, then the process exits with 0, or with 1 when something failed. A second
 * signal exits with 1 at once.
 *
 * To be called before `start`, so that a signal that comes meanwhile is no crash; `start` is rejected with `CLOSED` then.
 * Returns what takes it back.
 * @throws SseError `INVALID_OPTION`
 */
export function drainOnSignals(service: Pick<SseService, 'drain'>, options: DrainOnSignalsOptions = {}): () => void {
  if (typeof (service as Partial<typeof service> | undefined)?.drain !== 'function') {
    throw new SseError(
      'INVALID_OPTION',
      `drainOnSignals must be called with the service, got ${shownValue(service)}: drainOnSignals(container.get(SseService))`,
    );
  }
  checkArguments('drainOnSignals', options);
  const { signals = ['SIGTERM', 'SIGINT'], server, requestsTimeout = REQUESTS_MS, afterwards, onError } = options;
  const closing = server === undefined ? undefined : new ServerEnd(server);
  let ending = false;
  const end = async (): Promise<void> => {
    try {
      closing?.begin();
      await service.drain();
      await closing?.close(requestsTimeout);
      await withTimeout(Promise.resolve(afterwards?.()), AFTERWARDS_MS, () => undefined);
    } catch (error) {
      if (onError === undefined) console.error(error);
      else onError(error);
      process.exit(1);
    }
    process.exit(0);
  };
  const onSignal = (): void => {
    if (ending) return process.exit(1);
    ending = true;
    void end();
  };
  for (const signal of signals) process.on(signal, onSignal);
  return () => {
    for (const signal of signals) process.off(signal, onSignal);
  };
}

/** The end of a listener that waits for its requests. */
class ServerEnd {
  /** Sessions of HTTP/2, which a server does not close by itself. */
  readonly #sessions = new Set<{ close(): void }>();

  constructor(private readonly server: NonNullable<DrainOnSignalsOptions['server']>) {
    if (typeof server === 'function') return;
    server.on('session', session => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
  }

  /** From now on an answer ends its connection: no request can arrive on one that is kept alive while it is closed. */
  begin(): void {
    this.#resolved()?.prependListener('request', ({ httpVersionMajor }, response) => {
      if (httpVersionMajor === 1) response.setHeader('Connection', 'close');
    });
  }

  /** Resolves when every request was answered, or so many milliseconds have passed. */
  async close(timeout: number): Promise<void> {
    const server = this.#resolved();
    if (server === undefined) return;
    await acceptAll(server);
    const state = { open: true };
    // It fails when the server does not listen, which is as good.
    const closed = new Promise<void>(resolve => server.close(() => resolve())).then(() => (state.open = false));
    for (const session of this.#sessions) session.close();
    const until = performance.now() + timeout;
    // A connection that was busy when the server closed is kept alive for a next request.
    for (let left = timeout; state.open && left > 0; left = until - performance.now()) {
      server.closeIdleConnections?.();
      await withTimeout(closed, Math.min(LOOK_MS, left), () => undefined);
    }
  }

  #resolved(): ClosableServer | undefined {
    return typeof this.server === 'function' ? this.server() : this.server;
  }
}

/**
 * Resolves when a turn of the event loop has brought no connection: the process accepts one in each turn. The kernel resets the
 * connections that it has established and the process has not accepted when the port closes.
 */
async function acceptAll(server: ClosableServer): Promise<void> {
  let hasArrived = true;
  server.on('connection', () => (hasArrived = true));
  for (const until = performance.now() + LONGEST_ACCEPT_MS; hasArrived && performance.now() < until;) {
    hasArrived = false;
    await new Promise(resolve => setImmediate(resolve));
  }
}
