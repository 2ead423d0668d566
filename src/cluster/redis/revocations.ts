import type { Revocation } from '../../contracts/authorization.js';
import { ADMISSION_MS, LONGEST_REVOCATION_MS } from '../../options/arguments.js';
import type { ClusterNode } from './cluster-node.js';
import { encodeRequest, newRequestId, parseRequest, revocationOf } from './command-frames.js';
import { revocationsScript, revokeScript } from './scripts.js';
import type { Purpose } from './signing.js';

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
