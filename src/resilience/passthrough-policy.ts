import type {
  CircuitState,
  OperationContext,
  OperationKind,
  ResiliencePolicy,
} from '../contracts/policy.js';
import { SseError } from '../errors.js';

/** Runs every operation once, as it is. The right policy where there is nothing to reach, and in tests. */
export class PassthroughPolicy implements ResiliencePolicy {
  async execute<T>(
    _kind: OperationKind,
    operation: (context: OperationContext) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const context = new CallContext(signal);
    context.assertWanted();
    try {
      return await operation(context);
    } finally {
      context.end();
    }
  }

  circuit(): CircuitState {
    return 'closed';
  }
}

/** One call: what its operation can learn of it, and whether anybody still wants it. */
export class CallContext implements OperationContext {
  /** How the last try failed. */
  failure: unknown;
  #controller: AbortController | undefined;
  #gaveUp: { readonly reason: unknown } | undefined;
  #ended = false;
  #onAbort: (() => void) | undefined;

  constructor(readonly caller: AbortSignal | undefined) {}

  get signal(): AbortSignal {
    this.#controller ??= this.#begin();
    return this.#controller.signal;
  }

  /** @throws SseError `UNAVAILABLE` when the caller has given up */
  assertWanted(): void {
    if (this.caller?.aborted === true) throw this.unwanted();
  }

  /** What a call ends with that its caller has given up. */
  unwanted(): SseError {
    return new SseError('UNAVAILABLE', 'its caller gave the call up before it could run', {
      cause: this.caller?.reason,
    });
  }

  /** The policy gives up on the operation. */
  giveUp(reason: unknown): void {
    this.#gaveUp ??= { reason };
    this.#controller?.abort(reason);
  }

  /** The call is over; the caller's signal is let go. */
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
