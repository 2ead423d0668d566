import type { Publication, PublicationResult } from '../../contracts/cluster-coordinator.js';
import { SseError } from '../../errors/sse-error.js';
import { publishCommand } from '../../redis/publish-command.js';
import { publishScript } from '../../redis/scripts/publish-script.js';
import { publishUnkeptScript } from '../../redis/scripts/publish-unkept-script.js';
import { EVERYONE } from '../../protocol/everyone.js';
import { encodePayload, encodeUnkept, positionOf } from '../wire/publication-frame.js';
import type { ClusterNode } from './cluster-node.js';
import { logRequest } from './log-settings.js';
import type { Membership } from './membership.js';

const IDEMPOTENCY_MS = 60_000;

/** Publishes events: into the ordered log and to its subscribers in one step, or only to the subscribers. */
export class LogWriter {
  constructor(
    private readonly node: ClusterNode,
    private readonly membership: Membership,
  ) {}

  /** @throws SseError */
  async publish(publication: Publication): Promise<PublicationResult> {
    // Before: a failure afterwards would have a publication repeated that was made.
    const nodes = await this.membership.count();
    const cursor = await (publication.retention === false
      ? this.#publish(publication)
      : this.#append(publication));
    return cursor === undefined ? { nodes } : { cursor, nodes };
  }

  async #append({ topic = EVERYONE, retention, idempotencyKey, ...payload }: Publication) {
    const { gateway, options } = this.node;
    const { maxEntries, ttl, whole } = retention || { maxEntries: 0, ttl: 0 };
    const request = logRequest(gateway, options);
    const { id, epoch } = await gateway.run(publishScript, {
      ...request,
      metaMs: Math.max(request.metaMs, ttl),
      topic: gateway.keys.topic(topic),
      payload: encodePayload({ trace: payload.trace, body: payload.body }),
      maxEntries,
      maxAgeMs: whole === true ? 0 : ttl,
      streamMs: ttl,
      ...this.#subscribers(topic),
      ...(idempotencyKey !== undefined && {
        idempotency: { key: gateway.keys.idempotency(idempotencyKey), ms: IDEMPOTENCY_MS },
      }),
    });
    const position = positionOf(id);
    if (position === undefined) throw new SseError('INTERNAL', 'publish.lua must answer an id');
    return { epoch, ...position };
  }

  async #publish({
    topic = EVERYONE,
    body,
    trace,
    idempotencyKey,
  }: Publication): Promise<undefined> {
    const { gateway } = this.node;
    const { keys } = gateway;
    const frame = encodeUnkept({ trace, body });
    if (idempotencyKey === undefined) {
      await gateway.publish(keys.topicChannel(topic), frame, keys.logMode);
      return;
    }
    await gateway.run(publishUnkeptScript, {
      mark: keys.unkeptMark(idempotencyKey),
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
