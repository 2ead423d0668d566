import type { RememberedTopic, SubscriptionChange } from '../../contracts/cluster.js';
import { SseError } from '../../errors.js';
import { Batches } from './batches.js';
import type { ClusterNode } from './cluster-node.js';
import { parsePosition } from './frames.js';
import { recallScript, rememberScript } from './scripts.js';

/** Ids that one call recalls: as many as one call of `recall.lua` answers. */
const MOST_PER_CALL = 32;

type Recalled = readonly { readonly topic: string; readonly state: string }[];

/** What clients follow that come back, in Redis. Questions of one turn of the event loop travel together. */
export class RememberedSubscriptions {
  readonly #recalls: Batches<number, string, Recalled>;

  constructor(private readonly node: ClusterNode) {
    this.#recalls = new Batches(MOST_PER_CALL, (ms, connectionIds) => this.#recallAll(ms, connectionIds));
  }

  /** @throws SseError */
  async remember({ connectionId, topic, change, limit, ttl }: SubscriptionChange): Promise<boolean> {
    const { gateway } = this.node;
    const { logMeta: meta } = gateway.keys;
    const followed = gateway.keys.followed(connectionId);
    const { status } = await gateway.run(rememberScript, { meta, followed, topic, change, limit, ms: ttl });
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
    const reply = await gateway.run(recallScript, { followed, ms });
    if (reply.status === 'OK') return reply.remembered;
    throw new SseError('INTERNAL', 'recall.lua must answer, got its refusal of so many ids');
  }
}

/** The state of a topic as `remember.lua` writes it: a mark, then the position where the subscription began. */
function parseState(state: string): RememberedTopic {
  if (state.startsWith('-')) return { kind: 'dropped' };
  const [epoch = '', id = ''] = state.slice(1).split(' ');
  const position = parsePosition(id);
  // Without a position the log was empty, so the client misses nothing that it should not get.
  return position === undefined ? { kind: 'followed' } : { kind: 'followed', since: { epoch, ...position } };
}
