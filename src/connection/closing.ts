import type { CloseReason } from '../contracts/close-reason.js';
import type { ConnectionState } from '../contracts/sse-connection.js';

/** The signal and the promise of a connection's end; made only for connections somebody asks. */
export class Closing {
  readonly #controller = new AbortController();
  readonly closed: Promise<CloseReason>;
  #settle: (reason: CloseReason) => void = () => undefined;

  /** @param state the connection's state now, which may be its end already */
  constructor(state: ConnectionState) {
    this.closed = new Promise(resolve => {
      this.#settle = resolve;
    });
    if (state.kind === 'draining' || state.kind === 'closed') this.abort(state.reason);
    if (state.kind === 'closed') this.settle(state.reason);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason: CloseReason): void {
    this.#controller.abort(reason);
  }

  settle(reason: CloseReason): void {
    this.#settle(reason);
  }
}
