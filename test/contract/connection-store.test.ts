import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import fc from 'fast-check';
import type { Frame } from '../../src/contracts/events.js';
import type { LocalConnection } from '../../src/contracts/store.js';
import { MemoryConnectionStore } from '../../src/node/store.js';
import { connectionStoreContract } from '../../src/testing/contracts/connection-store.js';
import { FakeConnection } from '../../src/testing/contracts/fake-connection.js';
import { MOCHA } from '../support/runner.js';

const FRAME: Frame = { bytes: Buffer.from('data: x\n\n') };

const PROGRAM = fileURLToPath(new URL('../support/contract-in-node-test.js', import.meta.url));

connectionStoreContract(MOCHA, 'MemoryConnectionStore', () => new MemoryConnectionStore());

describe('a contract suite', () => {
  // A process of its own, since both runners would run its tests.
  const run = (store: string): { status: number | null; stdout: string } =>
    spawnSync(process.execPath, ['--test-reporter', 'tap', PROGRAM, store], {
      encoding: 'utf8',
      // Set where the tests themselves run under `node --test`.
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    });

  it('of each service runs under node:test, and fails for a store that breaks its contract', () => {
    const sound = run('sound');
    expect(sound.status).to.equal(0);
    expect(Number(/^# pass (\d+)$/m.exec(sound.stdout)?.[1])).to.be.greaterThan(200);
    const broken = run('broken');
    expect(broken.status).to.equal(1);
    expect(broken.stdout).to.include('expected').and.to.include('AssertionError');
  });
});

describe('MemoryConnectionStore', () => {
  it('agrees with a plain list after any sequence of calls', () => {
    const IDS = ['a', 'b'];
    const TOPICS = ['t', 'u'];
    const step = fc.record({
      verb: fc.constantFrom('add', 'promote', 'remove', 'subscribe', 'unsubscribe', 'deliver'),
      member: fc.nat(5),
      topic: fc.constantFrom(...TOPICS),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        const store = new MemoryConnectionStore();
        const stored = (): LocalConnection[] => [...store.connections()];
        const subscribers = (name: string): LocalConnection[] => [...store.subscribers(name)];
        const pool = Array.from(
          { length: 6 },
          (_, index) => new FakeConnection(IDS[index % 2]!, index < 2 ? ['t'] : []),
        );
        let owners: FakeConnection[] = [];
        let opening: FakeConnection[] = [];
        const without = (list: FakeConnection[], one: FakeConnection | undefined) =>
          list.filter(other => other !== one);
        for (const { verb, member, topic } of steps) {
          const connection = pool[member]!;
          const isOpening = opening.includes(connection);
          const isStored = isOpening || owners.includes(connection);
          const subscribed = connection.topics.has(topic);
          switch (verb) {
            case 'add':
              store.add(connection);
              if (!isStored) opening.push(connection);
              break;
            case 'promote': {
              const former = owners.find(({ id }) => id === connection.id);
              expect(store.promote(connection)).to.equal(isOpening ? former : undefined);
              if (!isOpening) break;
              owners = [...without(owners, former), connection];
              opening = without(opening, connection);
              break;
            }
            case 'remove':
              expect(store.remove(connection)).to.equal(isStored);
              owners = without(owners, connection);
              opening = without(opening, connection);
              break;
            case 'subscribe':
              expect(store.subscribe(connection, topic)).to.equal(isStored && !subscribed);
              break;
            case 'unsubscribe':
              expect(store.unsubscribe(connection, topic)).to.equal(isStored && subscribed);
              break;
            case 'deliver':
              for (const { frames } of pool) frames.length = 0;
              store.deliverToTopic(topic, FRAME);
              for (const other of pool) {
                const reached = (owners.includes(other) || opening.includes(other)) && other.topics.has(topic);
                expect(other.frames.length).to.equal(reached ? 1 : 0);
              }
              break;
          }
          expect([store.size, store.opening]).to.deep.equal([owners.length, opening.length]);
          expect(stored().slice(0, owners.length)).to.deep.equal(owners);
          expect(stored().slice(owners.length)).to.have.members(opening);
          const all = [...owners, ...opening];
          for (const name of TOPICS) {
            const expected = all.filter(({ topics }) => topics.has(name));
            expect(subscribers(name)).to.have.members(expected);
            expect([...store.topics()].includes(name)).to.equal(expected.length > 0);
          }
          for (const one of pool) {
            expect(store.find(one.id, one.token)).to.equal(all.includes(one) ? one : undefined);
          }
          for (const id of IDS) {
            expect(store.get(id)).to.equal(owners.find(other => other.id === id));
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
