import type { CircuitState, OperationContext, OperationKind, ResiliencePolicy } from '../contracts/policy.js';
import { SseError } from '../errors.js';

/** Runs every operation once and limits nothing. For a process alone, which has no cluster to call, and for tests. */
export class PassthroughPolicy implements ResiliencePolicy {
  execute<T>(
    _kind: OperationKind,
    operation: (context: OperationContext) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    if (signal !== undefined) return this.#until(signal, operation);
    try {
      return operation(new CallContext(undefined));
    } catch (error) {
      // Thrown before there is a promise.
      return (async () => {
        throw error;
      })();
    }
  }

  circuit(): CircuitState {
    return 'closed';
  }

  async #until<T>(signal: AbortSignal, operation: (context: OperationContext) => Promise<T>): Promise<T> {
    if (signal.aborted) throw givenUp(signal);
    const context = new CallContext(signal);
    try {
      return await operation(context);
    } finally {
      context.end();
    }
  }
}

/** One call of a policy. The signal of its operation is created when the operation reads it. */
export class CallContext implements OperationContext {
  /** The error of the last try. */
  failure: unknown;
  #controller: AbortController | undefined;
  #gaveUp: { readonly reason: unknown } | undefined;
  #ended = false;
  #onAbort: (() => void) | undefined;

  constructor(private readonly caller: AbortSignal | undefined) {}

  get signal(): AbortSignal {
    this.#controller ??= this.#begin();
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#gaveUp !== undefined || this.caller?.aborted === true;
  }

  /** The policy or the caller gives up on the operation: its signal aborts with this reason. */
  giveUp(reason: unknown): void {
    this.#gaveUp ??= { reason };
    this.#controller?.abort(reason);
  }

  /** The call has ended; no listener stays on the caller's signal. */
  end(): void {
    this.#ended = true;
    if (this.#onAbort !== undefined) this.caller?.removeEventListener('abort', this.#onAbort);
  }

  #begin(): AbortController {
    const controller = new AbortController();
    const { caller } = this;
    if (this.#gaveUp !== undefined) controller.abort(this.#gaveUp.reason);
    else if (caller?.aborted === true) controller.abort(caller.reason);
    else if (!this.#ended) {
      this.#onAbort = () => this.giveUp(caller?.reason);
      caller?.addEventListener('abort', this.#onAbort);
    }
    return controller;
  }
}

/** The error of a call whose caller's signal aborted before the call could run. */
export function givenUp(caller: AbortSignal | undefined): SseError {
  return new SseError('UNAVAILABLE', 'its caller gave the call up before it could run', { cause: caller?.reason });
}
