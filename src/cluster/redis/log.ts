import { randomBytes } from 'node:crypto';
import type { Publication, PublicationResult, RememberedTopic, SubscriptionChange } from '../../contracts/cluster.js';
import { SseError } from '../../errors.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { EVERYONE } from '../../protocol/names.js';
import { Batches } from './batches.js';
import type { ClusterNode } from './cluster-node.js';
import { encodePayload, encodeUnkept } from './frames.js';
import type { RedisGateway } from './gateway.js';
import { publishCommand } from './keys.js';
import type { LiveNodes } from './leases.js';
import { parsePosition, wellFormed } from './script.js';
import {
  forgetScript,
  keptScript,
  type LookRequest,
  type PublishRequest,
  publishScript,
  publishUnkeptScript,
  recallScript,
  rememberScript,
} from './scripts.js';
import type { UnreadableKeys } from './unreadable.js';

const IDEMPOTENCY_MS = 60_000;

/** Ids that one call recalls: as many as one call of `recall.lua` answers. */
const MOST_RECALLED = 32;

type Recalled = readonly { readonly topic: string; readonly state: string }[];

/**
 * Publishes events: into the ordered log and to its subscribers in one step, or only to the subscribers. And remembers what
 * clients follow that come back; questions of one turn of the event loop travel together, and in a rush those of a round trip.
 */
export class LogWriter {
  readonly #recalls: Batches<number, string, Recalled>;

  constructor(
    private readonly node: ClusterNode,
    private readonly liveNodes: Pick<LiveNodes, 'count'>,
    private readonly unreadable: Pick<UnreadableKeys, 'noteTopics' | 'watchHashes'>,
  ) {
    this.#recalls = new Batches(MOST_RECALLED, (ms, ids) => this.#recallAll(ms, ids), { atOnce: 2 });
  }

  /** @throws SseError */
  async publish(publication: Publication): Promise<PublicationResult> {
    // Counted before: a failure afterwards would make the caller repeat a publication that was made.
    const nodes = await this.liveNodes.count();
    try {
      const cursor = await (publication.retention === false ? this.#publish(publication) : this.#append(publication));
      return cursor === undefined ? { nodes } : { cursor, nodes };
    } catch (error) {
      this.unreadable.noteTopics([publication.topic ?? EVERYONE], error);
      throw error;
    }
  }

  /** Deletes the entries of a topic. @throws SseError */
  async forget(topic: string): Promise<void> {
    const { gateway } = this.node;
    await gateway.run(forgetScript, { stream: gateway.keys.topic(topic).stream });
  }

  /** How many entries of a topic are kept. @throws SseError */
  async kept(topic: string): Promise<number> {
    const { gateway } = this.node;
    const { entries } = await gateway.run(keptScript, { stream: gateway.keys.topic(topic).stream });
    return entries;
  }

  /** @throws SseError */
  async remember({ connectionId, topic, change, limit, ttl }: SubscriptionChange): Promise<boolean> {
    const { gateway } = this.node;
    const { logMeta: meta } = gateway.keys;
    const followed = gateway.keys.followed(connectionId);
    const request = { meta, followed, topic, change, limit, ms: ttl };
    const { status } = await this.unreadable.watchHashes([followed], gateway.run(rememberScript, request));
    return status === 'OK';
  }

  /** @throws SseError */
  async recall(connectionId: string, ttl: number): Promise<ReadonlyMap<string, RememberedTopic>> {
    const recalled = await this.#recalls.call(ttl, connectionId);
    return new Map(recalled.map(({ topic, state }) => [topic, parseState(state)]));
  }

  async #recallAll(ms: number, connectionIds: readonly string[]): Promise<readonly Recalled[]> {
    const { gateway } = this.node;
    const followed = connectionIds.map(connectionId => gateway.keys.followed(connectionId));
    const reply = await this.unreadable.watchHashes(followed, gateway.run(recallScript, { followed, ms }));
    if (reply.status === 'OK') return reply.remembered;
    throw new SseError('INTERNAL', 'recall.lua must answer, got its refusal of so many ids');
  }

  async #append({ topic = EVERYONE, retention, idempotencyKey, ...event }: Publication) {
    const { gateway, options, signer } = this.node;
    const { maxEntries, ttl, whole } = retention || { maxEntries: 0, ttl: 0 };
    const request = logRequest(gateway, options);
    const { id, epoch } = await gateway.run(publishScript, {
      ...request,
      metaMs: Math.max(request.metaMs, ttl),
      topic: gateway.keys.topic(topic),
      payload: encodePayload(signer, topic, event),
      maxEntries,
      maxAgeMs: whole === true ? 0 : ttl,
      streamMs: ttl,
      ...this.#subscribers(topic),
      // Every key must be given and in the log's slot, used or not.
      idempotency: idempotencyKey === undefined ? request.meta : gateway.keys.idempotency(topic, idempotencyKey),
      idempotencyMs: idempotencyKey === undefined ? 0 : IDEMPOTENCY_MS,
    });
    return { epoch, ...wellFormed(id) };
  }

  async #publish({ topic = EVERYONE, idempotencyKey, ...event }: Publication): Promise<undefined> {
    const { gateway, signer } = this.node;
    const { keys } = gateway;
    const frame = encodeUnkept(signer, topic, event);
    if (idempotencyKey === undefined) {
      await gateway.publish(keys.topicChannel(topic), frame, keys.logMode);
      return;
    }
    await gateway.run(publishUnkeptScript, {
      mark: keys.unkeptMark(topic, idempotencyKey),
      frame,
      ...this.#subscribers(topic),
      ms: IDEMPOTENCY_MS,
    });
  }

  #subscribers(topic: string) {
    const { keys } = this.node.gateway;
    return { pubCommand: publishCommand(keys.logMode), channel: keys.topicChannel(topic) };
  }
}

/**
 * Milliseconds that the log's clock jumps after a failover: more than clocks differ and replication lags. Never more than half
 * of the life of a last id: the time that stands for a forgotten one must be after it.
 */
const FAILOVER_JUMP_MS = 60_000;
/** Last ids are kept longer than entries, so that an old cursor gets a gap. */
const MEMORY_FACTOR = 10;

type LogRequest = Pick<PublishRequest & LookRequest, 'meta' | 'metaMs' | 'newEpoch' | 'failoverJumpMs' | 'evicts'>;

/** The part of a request that publishing to the log and looking at it share. */
export function logRequest({ keys, mayEvict }: RedisGateway, options: ResolvedSseOptions): LogRequest {
  const metaMs = logLifeMs(options);
  return {
    meta: keys.logMeta,
    metaMs,
    newEpoch: randomBytes(6).toString('hex'),
    failoverJumpMs: Math.min(FAILOVER_JUMP_MS, metaMs / 2),
    evicts: mayEvict,
  };
}

/** Milliseconds that the log's epoch and last ids live from when they were last used. */
export function logLifeMs({ history, mailbox }: Pick<ResolvedSseOptions, 'history' | 'mailbox'>): number {
  const own = Object.values(history.topics).map(topic => (topic === false ? 0 : (topic.ttl ?? 0)));
  return Math.max(history.ttl, mailbox.ttl, ...own) * MEMORY_FACTOR;
}

/** The state of a topic as `remember.lua` writes it: a mark, then the position where the subscription began. */
function parseState(state: string): RememberedTopic {
  if (state.startsWith('-')) return { kind: 'dropped' };
  const [epoch = '', id = ''] = state.slice(1).split(' ');
  const position = parsePosition(id);
  // Without a position the log was empty, so the client misses nothing that it should not get.
  return position === undefined ? { kind: 'followed' } : { kind: 'followed', since: { epoch, ...position } };
}
