import { expect } from 'chai';
import type { ClusterNode } from '../../../../src/cluster/redis/cluster-node.js';
import { catchUp, type LogPage, LogReader } from '../../../../src/cluster/redis/log.js';
import type { Cursor } from '../../../../src/contracts/events.js';
import { resolveOptions } from '../../../../src/options/resolve-options.js';
import { ModelRedis } from '../../../support/log/model-redis.js';
import { unsigned } from '../../../support/redis/signer-of.js';
import { turns } from '../../../support/turns.js';

const EVENT = Buffer.from('event: x\ndata: x\n\n');

describe('LogReader', () => {
  let redis: ModelRedis;
  let reader: LogReader;

  beforeEach(() => {
    redis = new ModelRedis();
    const node = { gateway: redis.gateway, options: resolveOptions({ node: { id: 'x' } }), signer: unsigned() };
    // It reads nothing else of a node.
    reader = new LogReader(node as unknown as ClusterNode);
  });

  /** Answers every call until this is done. */
  async function answered<T>(asked: Promise<T>): Promise<T> {
    await turns(1);
    while (redis.calls > 0) {
      for (let call = redis.calls; call > 0; call -= 1) redis.execute(0);
      for (let call = redis.calls; call > 0; call -= 1) redis.answer(0);
      await turns(1);
    }
    return asked;
  }

  it('reads more topics than one call takes as one log, page by page', async () => {
    const topics = Array.from({ length: 70 }, (_, n) => `topic-${n}`);
    let from = await answered(reader.head());
    // The first of them has so many that its page ends long before those of the others.
    for (let n = 0; n < 200; n += 1) redis.publish('topic-0', EVENT);
    for (const topic of topics) redis.publish(topic, EVENT);
    const seen: number[] = [];
    for (let pages = 0; pages < 100; pages += 1) {
      const page = await answered(reader.read(topics, from, 100));
      seen.push(...page.entries.map(({ position }) => position.sequence));
      from = { epoch: page.head.epoch, ...page.completeTo };
      if (page.completeTo.sequence === page.head.sequence) break;
    }
    expect(seen).to.deep.equal(Array.from({ length: 270 }, (_, n) => n + 1));
  });

  it('reports the gaps that another log has already', async () => {
    redis.publish('news', EVENT);
    const { position: until } = redis.publish('news', EVENT);
    redis.publish('sport', EVENT);
    redis.log.trim(redis.keys.topic('news').stream, 0);
    const after = { epoch: 'old', ms: 0, sequence: 0 };
    const page = await answered(reader.read(['news', 'sport', 'quiet'], after, 9));
    expect(page.lost).to.equal('EPOCH');
    expect(page.gap?.topics).to.deep.equal(new Map([['news', until]]));
    expect(page.entries.map(({ topic }) => topic)).to.deep.equal(['sport']);
  });

  it('a catch-up ends with a log that lost its end on the way', async () => {
    const at = (sequence: number) => ({ epoch: 'e', ms: 1, sequence });
    const page = (head: number, completeTo: number): LogPage => ({
      head: at(head),
      completeTo: at(completeTo),
      entries: [],
      gap: undefined,
      lost: undefined,
    });
    const pages = [page(500, 1), page(2, 2)];
    const scripted = {
      read: async () => {
        const next = pages.shift();
        if (next === undefined) throw new Error('asked once more');
        return next;
      },
    };
    const ends: Cursor[] = [];
    for await (const { position } of catchUp(scripted, () => ['news'], at(0))) ends.push(position);
    expect(ends.at(-1)).to.deep.equal(at(2));
  });
});
