import { expect } from 'chai';
import { bytesPerRoute, bytesPerTopic, idleTraffic } from '../../support/redis/redis-costs.js';
import { withRedis } from '../../support/redis/with-redis.js';

const BEATS = 4;

// The figures of docs/redis.md, on a smaller scale; test/soak/redis-figures.ts measures those.
describe('what a cluster costs Redis', () => {
  const server = withRedis();

  it('is at most 300 bytes for a route', async () => {
    // As full as 100,000 leave their hash tables, which grow by doubling.
    expect(await bytesPerRoute(server.redis, 12_500)).to.be.within(100, 300);
  });

  it('is at most 1,000 bytes for a topic with one event of 200 bytes, and for each further event at most 300', async () => {
    const event = 'x'.repeat(200);
    expect(await bytesPerTopic(server.redis, 2_000, [event])).to.be.within(300, 1_000);
    // Ids that are further apart, as on a slow machine, take bytes more. Of nine events that decides between two sizes that
    // the allocator has, 2,560 and 3,072 bytes; of ten both are within the bound.
    const ten = await bytesPerTopic(server.redis, 500, Array<string>(10).fill(event));
    // Valkey needs little more than the bytes themselves.
    expect(ten).to.be.within(10 * 200, 1_000 + 9 * 300);
  });

  it('grows with the nodes and not with their connections, while nothing happens', async () => {
    const watch = async (nodes: number, connections: number) =>
      (await idleTraffic(server.redis, { nodes, connections, heartbeat: 200, beats: BEATS })).rest;
    const two = await watch(2, 100);
    const four = await watch(4, 100);
    const full = await watch(2, 4_000);
    // Per node and heartbeat a lease, a look for dead nodes and one for revocations; once more where the window cuts.
    expect(two.scripts).to.be.within(2 * 2, 2 * 3 * (BEATS + 1));
    expect(four.scripts).to.be.within(4 * 2, 4 * 3 * (BEATS + 1));
    expect(full.scripts).to.be.within(2 * 2, 2 * 3 * (BEATS + 1));
    // Not one in which the connections are named.
    expect(full.bytesIn).to.be.lessThan(10_000);
    expect(four.publications).to.be.at.most(4);
  }).timeout(60_000);
});
