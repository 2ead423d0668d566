import type { Revocation } from '../../contracts/authorization.js';
import type { Presence, SentMessage } from '../../contracts/cluster.js';
import type { CloseReason } from '../../contracts/connection.js';
import type { CloseReceipt, CommandReceipt, Position, SendResult } from '../../contracts/events.js';
import type { RememberedOutcome } from '../../contracts/listener.js';
import { SseError } from '../../errors.js';
import { ADMISSION_MS, LONGEST_REVOCATION_MS } from '../../options/arguments.js';
import { certainOutcome, rejection } from '../guarded-cluster.js';
import type { ClusterNode } from './cluster-node.js';
import {
  type Command,
  type CommandResult,
  encodeRequest,
  MAX_DEADLINE,
  newRequestId,
  parseRequest,
  revocationOf,
} from './command-frames.js';
import type { CommandBus } from './commands.js';
import { beforeSending } from './failures.js';
import { isCode, nodeIdOf } from './frames.js';
import type { LiveNodes } from './leases.js';
import type { RedisRoutes } from './routes.js';
import { revocationsScript, revokeScript } from './scripts.js';
import type { Purpose } from './signing.js';

/** Milliseconds between the wait of an owner and that of the sender. */
const ANSWER_MS = 50;
const OUTCOMES: readonly RememberedOutcome[] = ['delivered', 'buffered', 'none', 'unknown'];

/** What nodes ask of each other, each with the result that is certain. Every method rejects with `UNAVAILABLE`. */
export class NodeCommands {
  constructor(
    private readonly bus: CommandBus,
    private readonly registry: RedisRoutes,
    private readonly nodes: LiveNodes,
    private readonly marks: RevocationMarks,
  ) {}

  async close(connectionId: string, reason: CloseReason, trace?: string): Promise<CloseReceipt> {
    const route = await beforeSending(this.registry.find(connectionId));
    if (route === undefined) return { closed: 0, missing: [] };
    const reply = await this.bus.ask(route.inc, { t: 'close', connectionId, reason }, { trace });
    return reply.kind === 'answered'
      ? { closed: Number(reply.result), missing: [] }
      : { closed: 0, missing: [nodeIdOf(route.inc)] };
  }

  async closeAll(reason: CloseReason, trace?: string): Promise<CloseReceipt> {
    return closedBy(await this.#askAll({ t: 'closeAll', reason }, trace));
  }

  async revoke(revocation: Revocation, trace?: string): Promise<CloseReceipt> {
    const askedAt = performance.now();
    // Whole milliseconds, rounded so that the revocation concerns rather a client too many than one too few.
    const since = (): number => Math.floor(revocation.age + performance.now() - askedAt);
    const receipt = closedBy(await this.#askAll({ t: 'revoke', ...revocation, age: since() }, trace));
    try {
      // Afterwards, so that a node that finds the mark has counted its streams. Until the call resolves, nothing is promised.
      await this.marks.write({ ...revocation, age: since() }, trace);
      return receipt;
    } catch (error) {
      return { ...receipt, unavailable: (SseError.is(error) && error.noEffect) || 'CLUSTER_UNREACHABLE' };
    }
  }

  async presence(topic: string): Promise<Presence> {
    const { results, missing } = await this.#askAll({ t: 'presence', topic });
    const connections = results.flatMap(([nodeId, parts]) =>
      parts.flatMap(part => (Array.isArray(part) ? part : [])).map(connectionId => ({ connectionId, nodeId })),
    );
    return { connections, missing };
  }

  async endSource(key: string): Promise<CommandReceipt> {
    const { results, missing } = await this.#askAll({ t: 'endSource', key });
    if (results.some(([, parts]) => parts.includes(true))) return { outcome: 'delivered' };
    return { outcome: missing.length === 0 ? 'not-connected' : 'unknown' };
  }

  async outcomeOf({ connectionId, messageId, nodeId, age }: SentMessage): Promise<SendResult | undefined> {
    const command = { t: 'outcomeOf', connectionId, messageId, age: Math.ceil(age) } as const;
    const { results, missing } = await this.#askAll(command);
    const answers = new Map<string, RememberedOutcome>(missing.map(id => [id, 'unknown']));
    for (const [id, [answer]] of results) answers.set(id, rememberedIn(answer));
    return certainOutcome(answers, nodeId);
  }

  /** What one node remembers of a message; `unknown` when it does not answer. */
  async outcomeAt(inc: string, message: Pick<SentMessage, 'connectionId' | 'messageId'>): Promise<RememberedOutcome> {
    const { connectionId, messageId } = message;
    const reply = await this.bus.ask(inc, { t: 'outcomeOf', connectionId, messageId, age: 0 });
    return rememberedIn(reply.kind === 'answered' ? reply.result : undefined);
  }

  /** Has the owner of a connection carry a command out. */
  async ownerCommand(
    command: Command & { readonly t: 'subscribe' | 'unsubscribe' | 'confirm' },
  ): Promise<CommandReceipt> {
    const route = await beforeSending(this.registry.find(command.connectionId));
    if (route === undefined) return { outcome: 'not-connected' };
    const reply = await this.bus.ask(route.inc, command);
    switch (reply.kind) {
      case 'answered':
        if (isCode(reply.result)) return { outcome: 'rejected', code: reply.result };
        return { outcome: reply.result === true ? 'delivered' : 'not-connected' };
      case 'refused':
        return refusedReceipt(reply.reason);
      case 'silent':
        return { outcome: 'unknown' };
      case 'unreached':
        return { outcome: 'unavailable', code: 'NODE_UNREACHABLE' };
    }
  }

  async isConfirmed(connectionId: string, messageId: string, ms: number): Promise<SendResult | undefined> {
    const route = await this.registry.find(connectionId);
    if (route === undefined) return undefined;
    // The answer takes its time as well.
    const wait = Math.max(0, Math.min(ms - ANSWER_MS, MAX_DEADLINE));
    const command = { t: 'isConfirmed', connectionId, messageId, ms: wait } as const;
    const reply = await this.bus.ask(route.inc, command, { deadline: ms });
    const confirmed = reply.kind === 'answered' && reply.result === true;
    return confirmed ? { outcome: 'confirmed', nodeId: nodeIdOf(route.inc) } : undefined;
  }

  async hasReached(connectionId: string, { ms, sequence }: Position): Promise<SendResult | undefined> {
    const route = await this.registry.find(connectionId);
    if (route === undefined) return undefined;
    const reply = await this.bus.ask(route.inc, { t: 'hasReached', connectionId, ms, sequence });
    const answer = reply.kind === 'answered' ? reply.result : undefined;
    if (answer !== 'delivered' && answer !== 'buffered') return undefined;
    return { outcome: answer, nodeId: nodeIdOf(route.inc) };
  }

  /** The answers of all nodes, and the ids of those that did not answer. */
  async #askAll(command: Command, trace?: string) {
    const incs = await this.nodes.incarnations();
    const { answered, missing } = await this.bus.askAll(incs, command, { trace });
    const results = [...answered].map(([inc, parts]) => [nodeIdOf(inc), parts] as const);
    return { results, missing: missing.map(nodeIdOf) };
  }
}

/** The answers of nodes, each with the number of streams that it closed. */
function closedBy({
  results,
  missing,
}: {
  results: (readonly [string, readonly CommandResult[]])[];
  missing: string[];
}) {
  const closed = results.flatMap(([, parts]) => parts).reduce((sum: number, count) => sum + Number(count), 0);
  return { closed, missing };
}

function rememberedIn(answer: CommandResult | undefined): RememberedOutcome {
  return OUTCOMES.find(known => known === answer) ?? 'unknown';
}

/** The owner did not carry a command out, for this reason: a code of its error. */
function refusedReceipt(reason: string): CommandReceipt {
  const rejected = rejection(reason);
  if (rejected !== undefined) return rejected;
  return reason === 'UNAVAILABLE' ? { outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' } : { outcome: 'unknown' };
}

/** Marks that are kept at least. */
const MOST_MARKS = 100_000;
/** Marks that one call reads. */
const PAGE = 500;
/** A mark has no reader that waits. */
const NO_DEADLINE = 0;
const PURPOSE: Purpose = { kind: 'all-nodes' };

/**
 * The marks of revocations in Redis, for nodes that do not get the command: this node reads with each heartbeat those that it
 * has not read. A mark has the form of a command to all nodes, and its signature.
 */
export class RevocationMarks {
  /** The newest mark that was read. */
  #after: string | undefined;
  #reading = false;

  constructor(private readonly node: ClusterNode) {}

  /** Keeps a mark. @throws SseError */
  async write(revocation: Revocation, trace: string | undefined): Promise<void> {
    const { gateway, signer, inc } = this.node;
    const command = { t: 'revoke', ...revocation } as const;
    const frame = encodeRequest({ id: newRequestId(), from: inc, at: 0, deadline: NO_DEADLINE, command, trace });
    const mark = signer.sign(PURPOSE, frame);
    await gateway.run(revokeScript, {
      marks: gateway.keys.logMarks,
      mark,
      most: MOST_MARKS,
      ms: LONGEST_REVOCATION_MS,
    });
  }

  /** Carries out what this node has not read yet. Never rejects: the next heartbeat tries again. */
  async read(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (await this.#readPage());
    } catch (error) {
      this.node.logger.debug('the marks of revocations could not be read; trying again', { error });
    } finally {
      this.#reading = false;
    }
  }

  /** Resolves to whether there may be more. @throws SseError */
  async #readPage(): Promise<boolean> {
    const { gateway, clock, options } = this.node;
    // What clients follow that come back is remembered so long.
    const recent = (clock.earliest ?? 0) - 2 * options.history.ttl - ADMISSION_MS;
    const after = this.#after ?? `${Math.max(0, Math.floor(recent))}-0`;
    const reply = await gateway.run(revocationsScript, { marks: gateway.keys.logMarks, after, limit: PAGE });
    for (const { id, mark } of reply.marks) {
      // A millisecond less: both times are rounded, and no connection from before the revocation may stay.
      this.#carryOut(mark, Math.max(0, reply.now - parseInt(id, 10) - 1));
      this.#after = id;
    }
    this.#after ??= after;
    return reply.marks.length === PAGE;
  }

  #carryOut(mark: Buffer, ms: number): void {
    const { signer, listener, logger } = this.node;
    const frame = signer.authentic(PURPOSE, mark)?.body;
    const request = frame && parseRequest(frame);
    if (request === undefined || !('command' in request) || request.command.t !== 'revoke') {
      logger.warn('a mark of a revocation is not authentic, or of another version; it is ignored');
      return;
    }
    const revocation = revocationOf(request.command);
    const age = revocation.age + ms;
    if (age <= revocation.ttl) listener.onRevoke({ ...revocation, age }, request.trace);
  }
}
