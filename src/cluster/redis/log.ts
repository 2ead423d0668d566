import { randomBytes } from 'node:crypto';
import type { Publication, PublicationResult } from '../../contracts/cluster.js';
import { SseError } from '../../errors.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { EVERYONE } from '../../protocol/names.js';
import type { ClusterNode } from './cluster-node.js';
import { beforeSending } from './failures.js';
import { encodePayload, encodeUnkept, parsePosition } from './frames.js';
import type { RedisGateway } from './gateway.js';
import { publishCommand } from './keys.js';
import type { LiveNodes } from './leases.js';
import {
  forgetScript,
  keptScript,
  type LookRequest,
  publishScript,
  type PublishRequest,
  publishUnkeptScript,
} from './scripts.js';
import type { UnreadableTopics } from './unreadable.js';

const IDEMPOTENCY_MS = 60_000;

/** Publishes events: into the ordered log and to its subscribers in one step, or only to the subscribers. */
export class LogWriter {
  constructor(
    private readonly node: ClusterNode,
    private readonly liveNodes: Pick<LiveNodes, 'count'>,
    private readonly unreadable: Pick<UnreadableTopics, 'note'>,
  ) {}

  /** @throws SseError */
  async publish(publication: Publication): Promise<PublicationResult> {
    // Counted before: a failure afterwards would make the caller repeat a publication that was made.
    const nodes = await beforeSending(this.liveNodes.count());
    try {
      const cursor = await (publication.retention === false ? this.#publish(publication) : this.#append(publication));
      return cursor === undefined ? { nodes } : { cursor, nodes };
    } catch (error) {
      this.unreadable.note([publication.topic ?? EVERYONE], error);
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
    const position = parsePosition(id);
    if (position === undefined) throw new SseError('INTERNAL', 'publish.lua must answer an id');
    return { epoch, ...position };
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
