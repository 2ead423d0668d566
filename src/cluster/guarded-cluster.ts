import type {
  ClusterCoordinator,
  CoordinatorStatus,
  EventLog,
  Locks,
  Message,
  NodeMessenger,
  Publication,
  PublicationResult,
  Registration,
  RegistrationResult,
  RouteRegistry,
  SubscriptionChange,
} from '../contracts/cluster.js';
import type { CloseReceipt, CommandReceipt, SendResult, Unavailable } from '../contracts/events.js';
import type { ClusterListener, RememberedOutcome } from '../contracts/listener.js';
import type { CircuitState, OperationContext, OperationKind, ResiliencePolicy } from '../contracts/policy.js';
import { SseError, type UnavailableCode } from '../errors.js';
import { withTimeout } from '../time.js';

/** The result of a publication that never rejects because of the cluster. */
type StoreResult = (PublicationResult & { readonly outcome: 'published' }) | Unanswered;

/** A call without an answer: it was certainly not sent, or that is not known. */
type Unanswered = { readonly outcome: 'unknown' } | Unavailable;

/**
 * The one door through which a node calls its cluster. Every call through it
 *
 * - joins the cluster first, if this node has not joined yet;
 * - is bounded, repeated and refused by the {@link ResiliencePolicy}, as the kind beside each method says;
 * - is taken back when the policy gave it up and it succeeds all the same, where its caller could not do that.
 *
 * Sends, publications by {@link GuardedCluster.publish}, and commands to other nodes never reject because of the cluster:
 * they turn a failure into `unavailable` when nothing was certainly sent, else into `unknown`. Sends and publications also
 * end at their deadline. All other calls reject as their contracts say, and with `UNAVAILABLE` when the policy refuses them.
 */
export class GuardedCluster {
  #joined = false;
  #joining: Promise<void> | undefined;
  #closing = false;

  readonly routes: RouteRegistry = {
    register: registration => this.#call('register', context => this.#register(registration, context)),
    unregister: (connectionId, token) =>
      this.#call('register', () => this.coordinator.routes.unregister(connectionId, token)),
    releaseAll: () => this.#call('maintenance', () => this.coordinator.routes.releaseAll()),
    locate: connectionId => this.#call('maintenance', () => this.coordinator.routes.locate(connectionId)),
    count: () => this.#call('maintenance', () => this.coordinator.routes.count()),
    nodes: () => this.#call('maintenance', () => this.coordinator.routes.nodes()),
  };

  readonly log: EventLog = {
    publish: publication => this.#call('publish', () => this.coordinator.log.publish(publication)),
    // A client that begins at the present replays nothing.
    replay: request =>
      this.#call(request.after === undefined && request.backlog === undefined ? 'register' : 'replay', () =>
        this.coordinator.log.replay(request),
      ),
    subscribe: topics => this.#call('register', context => this.#subscribe(topics, context)),
    unsubscribe: topics => this.coordinator.log.unsubscribe(topics),
    forget: topic => this.#call('publish', () => this.coordinator.log.forget(topic)),
    kept: topic => this.#call('maintenance', () => this.coordinator.log.kept(topic)),
    remember: change => this.#call('command', () => this.coordinator.log.remember(change)),
    recall: (connectionId, ttl) => this.#call('register', () => this.coordinator.log.recall(connectionId, ttl)),
    position: () => this.coordinator.log.position(),
    lastPosition: () => this.coordinator.log.lastPosition(),
  };

  readonly messenger: NodeMessenger = {
    send: message => this.#send(message),
    close: (connectionId, reason, trace) =>
      this.#closeBy(() => this.coordinator.messenger.close(connectionId, reason, trace)),
    closeAll: (reason, trace) => this.#closeBy(() => this.coordinator.messenger.closeAll(reason, trace)),
    revoke: (revocation, trace) => this.#closeBy(() => this.coordinator.messenger.revoke(revocation, trace)),
    subscribe: (connectionId, topic) => this.#command(() => this.coordinator.messenger.subscribe(connectionId, topic)),
    unsubscribe: (connectionId, topic) =>
      this.#command(() => this.coordinator.messenger.unsubscribe(connectionId, topic)),
    outcomeOf: message => this.#call('command', () => this.coordinator.messenger.outcomeOf(message)),
    endSource: key => this.#command(() => this.coordinator.messenger.endSource(key)),
    presence: topic => this.#call('maintenance', () => this.coordinator.messenger.presence(topic)),
    confirm: report => this.#command(() => this.coordinator.messenger.confirm(report)),
    // No policy: the owner may wait with its answer, which must not use up the limits of other calls.
    hasReached: (connectionId, position) =>
      this.join().then(() => this.coordinator.messenger.hasReached(connectionId, position)),
    isConfirmed: (connectionId, messageId, ms) =>
      this.join().then(() => this.coordinator.messenger.isConfirmed(connectionId, messageId, ms)),
  };

  readonly locks: Locks = {
    acquireLock: (name, holder, ms) =>
      this.#call('publish', () => this.coordinator.locks.acquireLock(name, holder, ms)),
    releaseLock: (name, holder) => this.#call('publish', () => this.coordinator.locks.releaseLock(name, holder)),
    lockHolder: name => this.#call('publish', () => this.coordinator.locks.lockHolder(name)),
  };

  /**
   * @param listener is asked for when this node joins
   * @param report gets each failure that a receipt hides and that is no outage
   */
  constructor(
    private readonly coordinator: ClusterCoordinator,
    private readonly policy: ResiliencePolicy,
    private readonly listener: () => ClusterListener,
    private readonly report: (error: unknown) => void,
  ) {}

  /** Whether this node has joined the cluster, and so has something to leave. */
  get joined(): boolean {
    return this.#joined;
  }

  /** Joins once, however many callers ask. A failure rejects all of them, and the next call tries again. */
  join(): Promise<void> {
    if (this.#joined) return Promise.resolve();
    if (this.#closing) return Promise.reject(closedService());
    this.#joining ??= this.#join();
    return this.#joining;
  }

  /** This node does not join any more: calls that wait for it are rejected with `CLOSED`. Other calls go on. */
  beginClose(): void {
    this.#closing = true;
  }

  /** Leaves the cluster. A coordinator is not closed while it starts, so this waits for that. */
  async close(): Promise<void> {
    this.beginClose();
    // The failure of a start was reported to its callers.
    await this.#joining?.catch(() => undefined);
    await this.coordinator.close();
  }

  /** @param connectionId leaves out what does not concern this connection id */
  status(connectionId?: string): CoordinatorStatus {
    return this.coordinator.status(connectionId);
  }

  /** State of the policy's circuit for calls of a kind. */
  circuit(kind: OperationKind): CircuitState {
    return this.policy.circuit(kind);
  }

  /** Publishes within so many milliseconds, and says what is certain. Never rejects because of the cluster. */
  publish(publication: Publication, deadline: number): Promise<StoreResult> {
    return this.#withinDeadline<StoreResult>('publish', deadline, async attempt => {
      const result = await attempt.run(() => this.coordinator.log.publish(publication));
      return { outcome: 'published', ...result };
    });
  }

  /**
   * Publishes once: the policy does not repeat it, since later publications of this node would overtake the repetition.
   * @throws SseError
   */
  append(publication: Publication): Promise<PublicationResult> {
    return this.#call('publish', async () => {
      try {
        return await this.coordinator.log.publish(publication);
      } catch (error) {
        if (!SseError.is(error, 'UNAVAILABLE')) throw error;
        const { message, cause, noEffect } = error;
        throw new SseError('UNAVAILABLE', message, { cause, noEffect, retryable: false });
      }
    });
  }

  /** Remembers a change of what a client follows that is away. Never rejects because of the cluster. */
  remember(change: SubscriptionChange): Promise<CommandReceipt> {
    return this.#command(async () => {
      const remembered = await this.coordinator.log.remember(change);
      return remembered ? { outcome: 'stored' } : { outcome: 'rejected', code: 'INVALID_TOPIC' };
    });
  }

  async #join(): Promise<void> {
    try {
      await this.coordinator.start(this.listener());
      this.#joined = true;
      if (this.#closing) throw closedService();
    } finally {
      this.#joining = undefined;
    }
  }

  #call<T>(kind: OperationKind, call: (context: OperationContext) => Promise<T>): Promise<T> {
    if (this.#joined) return this.policy.execute(kind, call);
    return this.join().then(() => this.policy.execute(kind, call));
  }

  async #register(registration: Registration, context: OperationContext): Promise<RegistrationResult> {
    const result = await this.coordinator.routes.register(registration);
    if (result.outcome === 'registered' && isGivenUp(context)) {
      // A failure leaves a route without a connection, which is repaired like any other.
      this.routes.unregister(registration.connectionId, registration.token).catch(() => undefined);
    }
    return result;
  }

  async #subscribe(topics: Iterable<string>, context: OperationContext): Promise<void> {
    await this.coordinator.log.subscribe(topics);
    if (isGivenUp(context)) this.coordinator.log.unsubscribe(topics);
  }

  #send(message: Message): Promise<SendResult> {
    return this.#withinDeadline<SendResult>('send', message.deadline, async attempt => {
      const before = attempt.doubtful;
      const result = await attempt.run(() => this.coordinator.messenger.send(message));
      if (result.outcome === 'not-connected' && before) return { outcome: 'unknown' };
      if (result.outcome !== 'unavailable') return result;
      attempt.doubtful = before;
      // Where only the owner cannot be reached, the coordinator has tried again already.
      if (this.coordinator.status().reachable) return before ? { outcome: 'unknown' } : result;
      // The policy may repeat it, and counts it as a failure of the cluster.
      throw unreachable('send again later', result.code);
    });
  }

  async #command(command: () => Promise<CommandReceipt>): Promise<CommandReceipt> {
    const attempt = new Attempt();
    try {
      return await this.#call('command', () => attempt.run(command));
    } catch (error) {
      if (SseError.is(error, 'MESSAGE_LIMIT')) return { outcome: 'rejected', code: error.code };
      return this.#unanswered(attempt, error);
    }
  }

  async #closeBy(command: () => Promise<CloseReceipt>): Promise<CloseReceipt> {
    try {
      return await this.#call('command', command);
    } catch (error) {
      return { closed: 0, missing: [], unavailable: this.#reasonOf(error) };
    }
  }

  /** Resolves at the deadline at the latest, whatever the cluster and the policy do. */
  async #withinDeadline<R>(
    kind: OperationKind,
    deadline: number,
    step: (attempt: Attempt) => Promise<R>,
  ): Promise<R | Unanswered> {
    const caller = new DeadlineCaller();
    const attempt = new Attempt();
    // Made when needed: the stack of an error costs more than the rest of this method.
    const late = (): SseError => unreachable(`no answer within ${deadline} ms`);
    const begin = (): Promise<R> => {
      if (caller.aborted) throw late();
      return step(attempt);
    };
    const run = (): Promise<R> => (this.#joined ? begin() : this.join().then(begin));
    try {
      return await withTimeout(this.policy.execute(kind, run, caller), deadline, (): Unanswered => {
        const error = late();
        const result = this.#unanswered(attempt, error);
        caller.giveUp(error);
        return result;
      });
    } catch (error) {
      return this.#unanswered(attempt, error);
    }
  }

  /** What is certain of a call that failed. */
  #unanswered({ doubtful }: Attempt, error: unknown): Unanswered {
    const code = this.#reasonOf(error);
    return doubtful ? { outcome: 'unknown' } : { outcome: 'unavailable', code };
  }

  #reasonOf(error: unknown): UnavailableCode {
    if (SseError.is(error, 'CLOSED')) return 'CLOSED';
    if (!SseError.is(error, 'UNAVAILABLE')) {
      this.report(error);
      return 'CLUSTER_UNREACHABLE';
    }
    // The policy refuses a call because of the failures of others.
    const { noEffect, cause } = error;
    return noEffect ?? (SseError.is(cause) ? cause.noEffect : undefined) ?? 'CLUSTER_UNREACHABLE';
  }
}

/** One call through the policy, with its repetitions. */
class Attempt {
  /** Whether something was given to the cluster, which may have carried it out although no answer came. */
  doubtful = false;

  /** One try. A failure that had certainly no effect leaves no doubt. */
  async run<T>(call: () => Promise<T>): Promise<T> {
    const before = this.doubtful;
    this.doubtful = true;
    try {
      return await call();
    } catch (error) {
      if (SseError.is(error) && error.noEffect !== undefined) this.doubtful = before;
      throw error;
    }
  }
}

/** The caller of a call with a deadline. An AbortController costs as much as all the rest, and only calls that wait need one. */
class DeadlineCaller implements OperationContext {
  #controller: AbortController | undefined;
  #late: SseError | undefined;

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#late !== undefined) this.#controller.abort(this.#late);
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#late !== undefined;
  }

  /** The deadline is over. */
  giveUp(late: SseError): void {
    this.#late = late;
    this.#controller?.abort(late);
  }
}

function isGivenUp(context: OperationContext): boolean {
  return context.aborted ?? context.signal.aborted;
}

/** The error of a call after the service was closed. */
export function closedService(): SseError {
  return new SseError('CLOSED', 'the service was closed; load sseModule into a new container');
}

/** The error of a call that certainly had no effect. */
export function unreachable(detail: string, noEffect: UnavailableCode = 'CLUSTER_UNREACHABLE'): SseError {
  return new SseError('UNAVAILABLE', `the cluster cannot be reached: ${detail}; try again later`, { noEffect });
}

/** The error of a call to a coordinator that was closed. */
export function closedCoordinator(): SseError {
  return new SseError('CLOSED', 'the coordinator was closed; make a new container');
}

/**
 * What is certain of a message, from what the nodes remember; `undefined` when it certainly was not delivered.
 * @param owner the node that was asked to deliver it; where it is not known, all nodes must know
 */
export function certainOutcome(
  answers: ReadonlyMap<string, RememberedOutcome>,
  owner: string | undefined,
): SendResult | undefined {
  for (const [nodeId, outcome] of answers) {
    if (outcome === 'delivered' || outcome === 'buffered') return { outcome, nodeId };
  }
  const asked = owner === undefined ? [...answers.values()] : [answers.get(owner)];
  if (asked.every(answer => answer === 'none')) return undefined;
  return { outcome: 'unknown', ...(owner !== undefined && { nodeId: owner }) };
}

/** The receipt of a command that its owner refused with this code; `undefined` for other codes. */
export function rejection(code: string): CommandReceipt | undefined {
  return code === 'INVALID_TOPIC' || code === 'FORBIDDEN' ? { outcome: 'rejected', code } : undefined;
}
