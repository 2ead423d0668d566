import { randomBytes } from 'node:crypto';
import { SseError } from '../../errors/sse-error.js';
import {
  encodeAnswer,
  encodeRequest,
  IDS_PER_ANSWER,
  type Command,
  type CommandAnswer,
  type CommandRequest,
} from '../wire/command-frame.js';
import { nodeIdOf } from '../wire/incarnation.js';
import type { ClusterNode } from './cluster-node.js';
import type { NodeChannel } from './node-channel.js';

/** Milliseconds that a node may take to answer; less than a call to the cluster may take. */
const DEADLINE = 1_500;
const MAX_PENDING = 10_000;

/** What a command answers. */
export type CommandResult = CommandAnswer['data'];

/** What the nodes that were asked have answered; a partial result keeps what came. */
export interface CommandResults {
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
