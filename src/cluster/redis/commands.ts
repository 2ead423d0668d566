import { randomBytes } from 'node:crypto';
import { SseError } from '../../errors.js';
import type { ClusterNode } from './cluster-node.js';
import {
  type Command,
  type CommandAnswer,
  type CommandRequest,
  encodeAnswer,
  encodeRequest,
  IDS_PER_ANSWER,
  nodeIdOf,
} from './frames.js';
import type { NodeChannel } from './node-channel.js';

/** Milliseconds that a node may take to answer; less than a call to the cluster may take. */
const DEADLINE = 1_500;
const MAX_PENDING = 10_000;

/** What a command answers. */
type CommandResult = CommandAnswer['data'];

/** What the nodes that were asked have answered; a partial result keeps what came. */
interface CommandResults {
  /** By incarnation; several where a node answered in parts. */
  readonly answered: ReadonlyMap<string, readonly CommandResult[]>;
  /** Incarnations that did not answer in time. */
  readonly missing: readonly string[];
}

interface Pending {
  readonly expected: Set<string>;
  readonly answered: Map<string, CommandResult[]>;
  readonly refused: Map<string, string>;
  readonly finish: () => void;
}

/** Commands from node to node, each with an id, a deadline, and answers that are believed only from nodes that were asked. */
export class CommandBus {
  readonly #pending = new Map<string, Pending>();

  constructor(
    private readonly node: ClusterNode,
    private readonly channel: NodeChannel,
    /** Redis' clock in milliseconds, as far as known. */
    private readonly clock: () => number | undefined,
  ) {}

  /** Commands that wait for answers. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Asks one node. @throws SseError `UNAVAILABLE` when it does not answer or does not know the command */
  async ask(inc: string, command: Command): Promise<CommandResult> {
    const id = newId();
    const asked = this.#await(id, [inc]);
    const frame = encodeRequest({ ...this.#head(id), to: inc, command });
    try {
      if (!(await this.channel.publish(inc, frame))) throw silent(inc, command);
    } catch (error) {
      this.#pending.get(id)?.finish();
      throw error;
    }
    const { answered, refused } = await asked;
    const [result] = answered.get(inc) ?? [];
    if (result !== undefined) return result;
    const reason = refused.get(inc);
    throw reason === undefined ? silent(inc, command) : refusal(inc, command, reason);
  }

  /** Asks these nodes. Never rejects because of one that does not answer. @throws SseError `UNAVAILABLE` */
  async askAll(
    incs: readonly string[],
    command: Command,
    deadline = DEADLINE,
  ): Promise<CommandResults> {
    const id = newId();
    const asked = this.#await(id, incs, deadline);
    try {
      if (incs.length > 0) {
        await this.channel.publishToAll(encodeRequest({ ...this.#head(id, deadline), command }));
      }
    } catch (error) {
      this.#pending.get(id)?.finish();
      throw error;
    }
    const { answered } = await asked;
    return { answered, missing: incs.filter(inc => !answered.has(inc)) };
  }

  /** Tells all nodes without waiting. @throws SseError `UNAVAILABLE` */
  async tellAll(command: Command): Promise<void> {
    await this.channel.publishToAll(encodeRequest({ ...this.#head(newId()), command }));
  }

  /** Answers a request; long lists go in parts. A failure is the deadline of whoever asked. */
  answer(
    { id, from }: Pick<CommandRequest, 'id' | 'from'>,
    ok: boolean,
    data: CommandResult,
  ): void {
    const parts = Array.isArray(data) ? inParts(data) : [data];
    parts.forEach((part, at) => {
      const more = at < parts.length - 1 ? { more: true } : {};
      const frame = encodeAnswer({ id, from: this.node.inc, ok, ...more, data: part });
      this.channel.publish(from, frame).catch((error: unknown) => {
        this.node.logger.debug('an answer to another node was not sent', { error });
      });
    });
  }

  onAnswer({ id, from, ok, more, data }: CommandAnswer): void {
    const pending = this.#pending.get(id);
    if (pending?.expected.has(from) !== true) return;
    if (ok) pending.answered.set(from, [...(pending.answered.get(from) ?? []), data]);
    else pending.refused.set(from, String(data));
    if (more === true) return;
    pending.expected.delete(from);
    if (pending.expected.size === 0) pending.finish();
  }

  /** A node died: nobody waits for it any longer. */
  onDead(inc: string): void {
    for (const pending of this.#pending.values()) {
      if (pending.expected.delete(inc) && pending.expected.size === 0) pending.finish();
    }
  }

  /** Ends every wait. */
  close(): void {
    for (const pending of [...this.#pending.values()]) pending.finish();
  }

  #head(id: string, deadline = DEADLINE) {
    return { id, from: this.node.inc, at: Math.round(this.clock() ?? 0), deadline };
  }

  #await(id: string, incs: readonly string[], deadline = DEADLINE): Promise<Pending> {
    if (this.#pending.size >= MAX_PENDING) {
      throw new SseError(
        'MESSAGE_LIMIT',
        `at most ${MAX_PENDING} commands may wait for other nodes; try again later`,
      );
    }
    return new Promise(resolve => {
      const pending: Pending = {
        expected: new Set(incs),
        answered: new Map(),
        refused: new Map(),
        finish: () => {
          clearTimeout(timer);
          this.#pending.delete(id);
          // Of a node whose last part is missing, nothing is complete.
          for (const inc of pending.expected) pending.answered.delete(inc);
          resolve(pending);
        },
      };
      const timer = setTimeout(pending.finish, deadline);
      this.#pending.set(id, pending);
      if (incs.length === 0) pending.finish();
    });
  }
}

function newId(): string {
  return randomBytes(12).toString('hex');
}

function inParts(ids: readonly string[]): string[][] {
  const parts: string[][] = [];
  for (let from = 0; from < ids.length; from += IDS_PER_ANSWER) {
    parts.push(ids.slice(from, from + IDS_PER_ANSWER));
  }
  return parts.length === 0 ? [[]] : parts;
}

function silent(inc: string, { t }: Command): SseError {
  return new SseError(
    'UNAVAILABLE',
    `node ${nodeIdOf(inc)} must answer '${t}' within ${DEADLINE} ms, got nothing; try again later`,
  );
}

function refusal(inc: string, { t }: Command, reason: string): SseError {
  return new SseError(
    'UNAVAILABLE',
    `node ${nodeIdOf(inc)} must carry out '${t}', got: ${reason}; try again later`,
  );
}

/** What a command from elsewhere changes in this coordinator itself. */
interface CommandEffects {
  /** A node came or went. */
  onMembership(): void;
  /** Another node repaired routes, so something happened that may concern this one. */
  onRepaired(): void;
}

/** Carries out what other nodes ask, and answers. */
export class NodeCommands {
  constructor(
    private readonly node: ClusterNode,
    private readonly bus: CommandBus,
    private readonly guard: RequestGuard,
    private readonly effects: CommandEffects,
  ) {}

  /** Returns false for a request that is not to be believed, and is not carried out. */
  onRequest(request: CommandRequest): boolean {
    if (!this.guard.admits(request)) return false;
    this.#run(request.command).then(
      result => {
        if (result !== undefined) this.bus.answer(request, true, result);
      },
      (error: unknown) => {
        const reason = SseError.is(error) ? error.code : 'INTERNAL';
        this.node.logger.warn('a command from another node failed', {
          command: request.command.t,
          error,
        });
        this.bus.answer(request, false, reason);
      },
    );
    return true;
  }

  /** A command of a newer version: it is told so instead of waiting. */
  onUnknownRequest(request: Pick<CommandRequest, 'id' | 'from'>): void {
    this.bus.answer(request, false, 'unsupported');
  }

  /** `undefined`: nobody waits for an answer. */
  async #run(command: Command): Promise<CommandResult | undefined> {
    const { listener } = this.node;
    switch (command.t) {
      case 'join':
        this.effects.onMembership();
        return true;
      case 'leave':
        this.effects.onMembership();
        return undefined;
      case 'sync':
        this.effects.onRepaired();
        return undefined;
      case 'ping':
        return true;
      case 'count':
        return [...listener.registered()].length;
      case 'close':
        return listener.onClose(command.connectionId, command.reason);
      case 'closeAll':
        listener.onCloseAll(command.reason);
        return true;
      case 'subscribe':
        return listener.onSubscribe(command.connectionId, command.topic);
      case 'unsubscribe':
        return listener.onUnsubscribe(command.connectionId, command.topic);
      case 'confirm':
        return (await listener.hasReached(command.connectionId, command)) ?? false;
      case 'presence':
        return [...listener.onPresence(command.topic)];
    }
  }
}

/** Milliseconds that two nodes' ideas of Redis' clock may differ. */
const SLACK = 10_000;
const MAX_REMEMBERED = 10_000;

/**
 * Lets each request in once, and only while whoever asked may still wait: a node that stalled does not carry out what was
 * given up long ago, and a frame that somebody recorded does nothing when it is sent again, signed or not.
 */
export class RequestGuard {
  /** Requests that were let in, by id, oldest first, with the time until which they would be again. */
  readonly #known = new Map<string, number>();

  /** @param clock Redis' clock in milliseconds, as far as known */
  constructor(private readonly clock: () => number | undefined) {}

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
