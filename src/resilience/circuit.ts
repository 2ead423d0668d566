import {
  BrokenCircuitError,
  circuitBreaker,
  type CircuitBreakerPolicy,
  CircuitState as BreakerState,
  ConsecutiveBreaker,
  handleWhen,
  type IBackoff,
} from 'cockatiel';
import type { CircuitState } from '../contracts/policy.js';
import { SseError } from '../errors.js';

/** When a circuit opens, and for how long. */
interface CircuitSettings {
  readonly breakerFailures: number;
  readonly breakerCooldown: number;
}

/**
 * Lets calls through until so many in a row met a cluster that cannot be reached (`UNAVAILABLE`); then none for the
 * cooldown, then one at a time until one succeeds. Other errors are answers, and count as neither.
 */
export class Circuit {
  readonly #breaker: CircuitBreakerPolicy;
  readonly #cooldownMs: number;
  #openedAt = 0;

  /** @param onChange is told each new state */
  constructor(
    { breakerFailures, breakerCooldown }: CircuitSettings,
    onChange: (state: CircuitState) => void,
  ) {
    this.#cooldownMs = breakerCooldown;
    this.#breaker = circuitBreaker(handleWhen(isOutage), {
      halfOpenAfter: this.#cooldown(),
      breaker: new ConsecutiveBreaker(breakerFailures),
    });
    this.#breaker.onBreak(() => {
      this.#openedAt = performance.now();
    });
    this.#breaker.onStateChange(state => onChange(nameOf(state)));
  }

  /** `half-open` as soon as a call may try. */
  get state(): CircuitState {
    const state = nameOf(this.#breaker.state);
    return state === 'open' && this.#cooledDown ? 'half-open' : state;
  }

  /** Whether a call would be let through now. */
  get admits(): boolean {
    const { state } = this.#breaker;
    return state === BreakerState.Closed || (state === BreakerState.Open && this.#cooledDown);
  }

  /** The last failure it counted. */
  get lastFailure(): unknown {
    const failure = this.#breaker.lastFailure;
    return failure !== undefined && 'error' in failure ? failure.error : undefined;
  }

  /**
   * Runs `call`, at once, and counts how it ends.
   * @throws what it throws; or cockatiel's `BrokenCircuitError` when calls are not let through
   */
  execute<T>(call: () => Promise<T>): Promise<T> {
    // The breaker would have it wait for the call that tries, and so would everyone else.
    if (!this.admits) throw new BrokenCircuitError();
    return this.#breaker.execute(call);
  }

  get #cooledDown(): boolean {
    return performance.now() - this.#openedAt >= this.#cooldownMs;
  }

  /**
   * What the breaker compares the time since its opening with. By the machine's clock, which it reads, a clock set back
   * would hold the circuit open for as long; so it is told all or nothing, by a clock that is never set.
   */
  #cooldown(): IBackoff<unknown> {
    const isOver = (): boolean => this.#cooledDown;
    const cooldown: IBackoff<unknown> = {
      get duration() {
        return isOver() ? -Infinity : Infinity;
      },
      next: () => cooldown,
    };
    return cooldown;
  }
}

function nameOf(state: BreakerState): CircuitState {
  switch (state) {
    case BreakerState.Closed:
      return 'closed';
    case BreakerState.HalfOpen:
      return 'half-open';
    case BreakerState.Open:
    case BreakerState.Isolated:
      return 'open';
  }
}

function isOutage(error: unknown): boolean {
  return SseError.is(error, 'UNAVAILABLE');
}
