import { createHash, randomBytes } from 'node:crypto';
import type { Publication } from '../contracts/cluster.js';
import type { BroadcastReceipt, Cursor, FanOut, Frame, PublishReceipt, PublishResult } from '../contracts/events.js';
import type { BroadcastOptions, PublishOptions } from '../contracts/service.js';
import { retentionFor } from '../options/topic-history.js';
import { formatCursor } from '../protocol/cursor.js';
import { encodePosition } from '../protocol/event-stream.js';
import { checkKey } from '../protocol/names.js';
import type { SseNode } from './node.js';

/** Sends to many: everyone here, everyone everywhere, or the subscribers of a topic. */
export class Publisher {
  constructor(
    private readonly node: SseNode,
    private readonly copies: LocalCopies,
  ) {}

  broadcast(event: string, data: unknown, options: BroadcastOptions): FanOut {
    return this.node.telemetry.events.broadcasting(event, () =>
      this.node.store.deliverToAll(this.node.encoder.encode(event, data, options)),
    );
  }

  broadcastToCluster(event: string, data: unknown, options: PublishOptions): Promise<BroadcastReceipt> {
    return this.node.telemetry.events.publishing({ scope: 'cluster' }, event, async trace => {
      const local = this.node.store.size;
      const prepared = this.#publication(undefined, event, data, options, trace);
      if ('outcome' in prepared) return { local, nodes: 0, ...prepared };
      const { idempotencyKey: key } = options;
      const id = key === undefined ? randomBytes(12).toString('base64url') : digestOf(key);
      const publication = { ...prepared, id };
      const copy = this.copies.begin(id);
      const { nodes, result } = await this.#publish(publication);
      switch (result.outcome) {
        case 'stored':
        case 'routed':
        case 'rejected':
          return { local, nodes, ...result };
        case 'unavailable':
          this.#deliverHere(copy, publication.body);
          return { local, nodes: 0, degraded: true, ...result };
        case 'unknown':
          // The log may have been faster than the answer.
          if (copy.arrived !== undefined) return { ...resultOf(copy.arrived.position), local, nodes: null };
          this.#deliverHere(copy, publication.body);
          return { outcome: 'unknown', local, nodes: null };
      }
    });
  }

  /** @param topic of the application, or of a user */
  async publish(topic: string, event: string, data: unknown, options: PublishOptions): Promise<PublishReceipt> {
    return this.node.telemetry.events.publishing({ scope: 'topic', topic }, event, async trace => {
      const prepared = this.#publication(topic, event, data, options, trace);
      if ('outcome' in prepared) return { topic, ...prepared };
      const { result } = await this.#publish(prepared);
      return { topic, ...result };
    });
  }

  async #publish(publication: Publication): Promise<{ readonly result: PublishResult; readonly nodes: number }> {
    const { cluster, options, closed } = this.node;
    if (closed) return { result: { outcome: 'unavailable', code: 'CLOSED' }, nodes: 0 };
    const stored = await cluster.publish(publication, options.send.deadline);
    if (stored.outcome !== 'published') return { result: stored, nodes: 0 };
    return { result: resultOf(stored.cursor), nodes: stored.nodes };
  }

  /** Gives a broadcast to the connections of this node, unless they have it from an earlier try with the same key. */
  #deliverHere(copy: LocalCopy, bytes: Buffer): void {
    if (copy.given !== undefined) return;
    const { store, telemetry } = this.node;
    telemetry.events.fanningOut(
      { to: { scope: 'cluster' }, size: bytes.length, position: undefined, trace: undefined },
      () => store.deliverToAll({ bytes }),
    );
    copy.given = this.node.newestOrdinal;
  }

  #publication(
    topic: string | undefined,
    event: string,
    data: unknown,
    { retry, history, idempotencyKey }: PublishOptions,
    trace: string | undefined,
  ): Publication | Extract<PublishResult, { readonly outcome: 'rejected' }> {
    if (idempotencyKey !== undefined) checkKey('an idempotency key', idempotencyKey);
    const prepared = this.node.encoder.prepare(event, data, retry === undefined ? {} : { retry });
    if ('refused' in prepared) return { outcome: 'rejected', code: prepared.refused };
    return {
      topic,
      body: prepared.frame.bytes,
      retention: history === false ? false : retentionFor(this.node.options.history, topic),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      ...(trace === undefined ? {} : { trace }),
    };
  }
}

/** What a publication became that the cluster made. */
function resultOf(cursor: Cursor | undefined): PublishResult {
  return cursor === undefined ? { outcome: 'routed' } : { outcome: 'stored', id: formatCursor(cursor) };
}

function digestOf(key: string): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, 16);
}

/** Publications that are remembered, and for how many milliseconds: at least as long as an idempotency key is known. */
const MAX_COPIES = 1_000;
const REMEMBER_MS = 60_000;

/** A broadcast of this node, from its call on. */
interface LocalCopy {
  readonly begunAt: number;
  /** The frame of the log, once it came. */
  arrived: Frame | undefined;
  /** The connections up to this ordinal were given the broadcast without the log. */
  given: number | undefined;
}

/**
 * The latest broadcasts of this node by their random id. A broadcast whose answer stays away is given to the clients of this
 * node at once; when the log brings it all the same, those clients get only its id.
 */
export class LocalCopies {
  readonly #copies = new Map<string, LocalCopy>();

  /** Remembers a broadcast. The id of an earlier try of the same broadcast finds that try. */
  begin(id: string): LocalCopy {
    const now = performance.now();
    for (const [old, { begunAt }] of this.#copies) {
      if (this.#copies.size < MAX_COPIES && now - begunAt < REMEMBER_MS) break;
      this.#copies.delete(old);
    }
    const copy = this.#copies.get(id) ?? { begunAt: now, arrived: undefined, given: undefined };
    this.#copies.set(id, copy);
    return copy;
  }

  /** Notes that the log brought a broadcast. Returns how to deliver it when connections of this node have it already. */
  arrive(id: string | undefined, frame: Frame): Arrival | undefined {
    const copy = id === undefined ? undefined : this.#copies.get(id);
    if (copy === undefined) return undefined;
    copy.arrived = frame;
    if (copy.given === undefined) return undefined;
    const { position } = frame;
    const instead = position && { bytes: encodePosition(formatCursor(position)), position };
    return { given: copy.given, instead };
  }
}

/** A broadcast that came late. */
export interface Arrival {
  /** The connections up to this ordinal have it already. */
  readonly given: number;
  /** What they get instead: its id, or nothing where it has none. */
  readonly instead: Frame | undefined;
}
