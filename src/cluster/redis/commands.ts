import { SseError } from '../../errors.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { whenOver } from '../../time.js';
import type { ClusterNode, NodeChannel } from './cluster-node.js';
import {
  type Command,
  type CommandRequest,
  type CommandResult,
  encodeAnswer,
  encodeRequest,
  IDS_PER_ANSWER,
  newRequestId,
  parseAnswer,
  parseRequest,
  type RequestSender,
  revocationOf,
} from './command-frames.js';
import type { LiveNodes } from './leases.js';

type OperationLimits = ResolvedSseOptions['resilience']['command'];

/** Milliseconds that a node may take to answer; less than a call to the cluster may take. */
const DEADLINE = 1_500;
const MAX_PENDING = 10_000;

/** The answers of the nodes that were asked; a partial result keeps what came. */
interface CommandResults {
  /** By incarnation; several where a node answered in parts. */
  readonly answered: ReadonlyMap<string, readonly CommandResult[]>;
  /** Incarnations that did not answer in time. */
  readonly missing: readonly string[];
}

/** Options of a command. */
interface AskOptions {
  /** Milliseconds that a node may take to answer. */
  readonly deadline?: number;
  /** The trace that the command carries. */
  readonly trace?: string | undefined;
}

/** The answer of one node. */
type CommandReply =
  | { readonly kind: 'answered'; readonly result: CommandResult }
  /** The node did not carry it out. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** No answer in time: the node may have carried it out. */
  | { readonly kind: 'silent' }
  /** The node did not get it: Redis counted no subscriber of it, or it left the commands before unanswered. */
  | { readonly kind: 'unreached' };

interface Pending {
  readonly expected: Set<string>;
  readonly answered: Map<string, CommandResult[]>;
  readonly refused: Map<string, string>;
  readonly finish: () => void;
}

/**
 * Commands from node to node, in both directions. Each has an id and a deadline. An answer counts only when it comes from a
 * node that was asked; a request is carried out once, and only while its sender may still wait.
 */
export class CommandBus {
  readonly #pending = new Map<string, Pending>();
  readonly #guard: RequestGuard;
  readonly #silence: SilentNodes;

  constructor(
    private readonly node: ClusterNode,
    private readonly channel: NodeChannel,
    private readonly nodes: Pick<LiveNodes, 'forget'>,
  ) {
    this.#guard = new RequestGuard(() => node.clock.earliest);
    this.#silence = new SilentNodes(node.options.resilience.command);
  }

  /** Commands that wait for answers. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Asks one node. @throws SseError `UNAVAILABLE` when the command was certainly not sent */
  async ask(inc: string, command: Command, options: AskOptions = {}): Promise<CommandReply> {
    if (!this.#silence.admits(inc)) return { kind: 'unreached' };
    const publish = (frame: Buffer): Promise<boolean> => this.channel.publish(inc, frame);
    const asked = await this.#ask([inc], { to: inc, command }, options, publish);
    const [result] = asked?.answered.get(inc) ?? [];
    if (result !== undefined) return { kind: 'answered', result };
    const reason = asked?.refused.get(inc);
    if (reason !== undefined) return { kind: 'refused', reason };
    return { kind: asked === undefined ? 'unreached' : 'silent' };
  }

  /**
   * Asks these nodes. A node that does not answer is missing; one that left the commands before unanswered is not waited for.
   * @throws SseError `UNAVAILABLE` when certainly nothing was sent
   */
  async askAll(incs: readonly string[], command: Command, options: AskOptions = {}): Promise<CommandResults> {
    const awaited = incs.filter(inc => this.#silence.admits(inc));
    const publish = async (frame: Buffer): Promise<boolean> => {
      if (incs.length > 0) await this.channel.publishToAll(frame);
      return true;
    };
    const { answered = new Map<string, CommandResult[]>() } =
      (await this.#ask(awaited, { command }, options, publish)) ?? {};
    return { answered, missing: incs.filter(inc => !answered.has(inc)) };
  }

  /** Sends a command to all nodes without waiting for answers. @throws SseError `UNAVAILABLE` */
  async notifyAll(command: Command): Promise<void> {
    await this.channel.publishToAll(encodeRequest({ ...this.#head(newRequestId()), command }));
  }

  /** A node died, so no command waits for its answer any longer. */
  onDead(inc: string): void {
    this.#silence.end(inc);
    for (const pending of this.#pending.values()) {
      if (pending.expected.delete(inc) && pending.expected.size === 0) pending.finish();
    }
  }

  /** Ends every wait. */
  close(): void {
    for (const pending of [...this.#pending.values()]) pending.finish();
  }

  /** A frame with an answer. Returns whether this version knows it. */
  onAnswer(frame: Buffer): boolean {
    const answer = parseAnswer(frame);
    if (answer === undefined) return false;
    const { id, from, ok, more, data } = answer;
    this.#silence.end(from);
    const pending = this.#pending.get(id);
    if (pending?.expected.has(from) !== true) return true;
    if (ok) pending.answered.set(from, [...(pending.answered.get(from) ?? []), data]);
    else pending.refused.set(from, String(data));
    if (more === true) return true;
    pending.expected.delete(from);
    if (pending.expected.size === 0) pending.finish();
    return true;
  }

  /**
   * A frame with a request: carries it out and answers. Returns whether this version knows the command, and the request is
   * neither too old nor a repetition.
   */
  onRequest(frame: Buffer): boolean {
    const request = parseRequest(frame);
    if (request === undefined) return false;
    const mine = request.to === undefined || request.to === this.node.inc;
    if (!('command' in request)) {
      // The sender is of a newer version; without an answer it would wait.
      if (mine) this.#answer(request, false, 'unsupported');
      return false;
    }
    if (!mine) return true;
    if (!this.#guard.admits(request)) return false;
    this.#run(request).then(
      result => {
        if (result !== undefined) this.#answer(request, true, result);
      },
      (error: unknown) => {
        const command = request.command.t;
        this.node.logger.warn('a command from another node failed', { command, error });
        this.#answer(request, false, SseError.is(error) ? error.code : 'INTERNAL');
      },
    );
    return true;
  }

  /** `undefined`: the sender waits for no answer. */
  async #run({ command, trace }: CommandRequest): Promise<CommandResult | undefined> {
    const { listener, options } = this.node;
    switch (command.t) {
      case 'join':
        this.nodes.forget();
        return true;
      case 'leave':
        this.nodes.forget();
        return undefined;
      case 'sync':
        if (options.consistency.interNodeSyncEnabled) listener.onSync();
        return undefined;
      case 'ping':
        return true;
      case 'count':
        return [...listener.registered()].length;
      case 'close':
        return listener.onClose(command.connectionId, command.reason, trace);
      case 'closeAll':
        return listener.onCloseAll(command.reason, trace);
      case 'revoke':
        return listener.onRevoke(revocationOf(command), trace);
      case 'subscribe':
        return listener.onSubscribe(command.connectionId, command.topic);
      case 'unsubscribe':
        return listener.onUnsubscribe(command.connectionId, command.topic);
      case 'outcomeOf':
        return listener.onOutcomeOf(command.connectionId, command.messageId, command.age);
      case 'endSource':
        return listener.onEndSource(command.key);
      case 'hasReached':
        return (await listener.hasReached(command.connectionId, command)) ?? false;
      case 'isConfirmed':
        return listener.isConfirmed(command.connectionId, command.messageId, command.ms);
      case 'confirm': {
        const receipt = listener.onConfirm(command);
        return receipt.outcome === 'rejected' ? receipt.code : receipt.outcome === 'delivered';
      }
      case 'presence':
        return [...listener.onPresence(command.topic)];
    }
  }

  /** Answers a request; long lists go in parts. When an answer is not sent, the deadline of the sender ends its wait. */
  #answer({ id, from }: RequestSender, ok: boolean, data: CommandResult): void {
    const parts = Array.isArray(data) ? inParts(data) : [data];
    parts.forEach((part, at) => {
      const more = at < parts.length - 1 ? { more: true } : {};
      const frame = encodeAnswer({ id, from: this.node.inc, ok, ...more, data: part });
      this.channel.publish(from, frame).catch((error: unknown) => {
        this.node.logger.debug('an answer to another node was not sent', { error });
      });
    });
  }

  /** Asks nodes and waits for them; `undefined` when the request reached none. @throws SseError */
  async #ask(
    incs: readonly string[],
    asked: Pick<CommandRequest, 'to' | 'command'>,
    { deadline = DEADLINE, trace }: AskOptions,
    publish: (frame: Buffer) => Promise<boolean>,
  ): Promise<Pending | undefined> {
    const id = newRequestId();
    const waiting = this.#await(id, incs, deadline);
    let isSent = false;
    try {
      isSent = await publish(encodeRequest({ ...this.#head(id, deadline), ...asked, trace }));
    } catch (error) {
      // Without an answer of Redis the command may have been sent, and the nodes may answer.
      isSent = isWithoutAnswer(error);
      if (!isSent) throw error;
    } finally {
      if (!isSent) this.#pending.get(id)?.finish();
    }
    if (!isSent) return undefined;
    const pending = await waiting;
    for (const inc of incs) if (!pending.answered.has(inc) && !pending.refused.has(inc)) this.#silence.note(inc);
    return pending;
  }

  #head(id: string, deadline = DEADLINE) {
    return { id, from: this.node.inc, at: Math.round(this.node.clock.earliest ?? 0), deadline };
  }

  #await(id: string, incs: readonly string[], deadline: number): Promise<Pending> {
    if (this.#pending.size >= MAX_PENDING) {
      throw new SseError('MESSAGE_LIMIT', `at most ${MAX_PENDING} commands may wait for other nodes; try again later`);
    }
    return new Promise(resolve => {
      const pending: Pending = {
        expected: new Set(incs),
        answered: new Map(),
        refused: new Map(),
        finish: () => {
          stop();
          this.#pending.delete(id);
          // The answer of a node whose last part is missing is not complete.
          for (const inc of pending.expected) pending.answered.delete(inc);
          resolve(pending);
        },
      };
      const stop = whenOver(pending.finish, deadline);
      this.#pending.set(id, pending);
      if (incs.length === 0) pending.finish();
    });
  }
}

/** One part at least. */
function inParts(ids: readonly string[]): string[][] {
  const length = Math.max(1, Math.ceil(ids.length / IDS_PER_ANSWER));
  return Array.from({ length }, (_, at) => ids.slice(at * IDS_PER_ANSWER, (at + 1) * IDS_PER_ANSWER));
}

/** Whether Redis may have published although its answer did not come. */
function isWithoutAnswer(error: unknown): boolean {
  return SseError.is(error, 'UNAVAILABLE') && error.noEffect === undefined;
}

/**
 * A circuit breaker for each remote node. A node that hangs costs the callers of its own clients a moment, and the callers
 * of other nodes nothing.
 */
class SilentNodes {
  readonly #nodes = new Map<string, { unanswered: number; askedAt: number }>();

  constructor(private readonly limits: Pick<OperationLimits, 'breakerFailures' | 'breakerCooldown'>) {}

  /** Whether to ask a node. After too many commands without an answer, one command per cool-down is. */
  admits(inc: string): boolean {
    const node = this.#nodes.get(inc);
    if (node === undefined || node.unanswered < this.limits.breakerFailures) return true;
    const now = performance.now();
    if (now - node.askedAt < this.limits.breakerCooldown) return false;
    node.askedAt = now;
    return true;
  }

  /** A node did not answer a command. */
  note(inc: string): void {
    const unanswered = (this.#nodes.get(inc)?.unanswered ?? 0) + 1;
    this.#nodes.set(inc, { unanswered, askedAt: performance.now() });
  }

  /** A node answered, or is gone. */
  end(inc: string): void {
    this.#nodes.delete(inc);
  }
}

/** Milliseconds that two nodes' ideas of Redis' clock may differ. */
const SLACK = 10_000;
const MAX_REMEMBERED = 10_000;

/**
 * Admits each request once, and only while its sender may still wait. So a node that stalled does not carry out what was
 * given up long ago, and a recorded frame has no effect when it is sent again, signed or not.
 */
export class RequestGuard {
  /** Admitted requests by id, oldest first, with the time until which a repetition could be admitted. */
  readonly #known = new Map<string, number>();

  /** @param clock Redis' clock in milliseconds, as far as known */
  constructor(private readonly clock: () => number | undefined) {}

  /** Whether to carry out a request; remembers it if so. */
  admits({ id, at, deadline }: Pick<CommandRequest, 'id' | 'at' | 'deadline'>): boolean {
    const now = this.clock() ?? at;
    const until = at + deadline + SLACK;
    if (at > now + SLACK || until < now || this.#known.has(id)) return false;
    for (const [old, end] of this.#known) {
      if (end >= now && this.#known.size < MAX_REMEMBERED) break;
      this.#known.delete(old);
    }
    this.#known.set(id, until);
    return true;
  }
}
