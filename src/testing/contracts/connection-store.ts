import type { Frame } from '../../contracts/events.js';
import type { ConnectionStore, LocalConnection } from '../../contracts/store.js';
import { expect } from './expect.js';
import { FakeConnection } from './fake-connection.js';
import type { TestRunner } from './runner.js';

const FRAME: Frame = { bytes: Buffer.from('data: x\n\n') };

/**
 * What every `ConnectionStore` does.
 * @param runner the functions of the application's test runner
 * @param create makes an empty store
 */
export function connectionStoreContract(runner: TestRunner, name: string, create: () => ConnectionStore): void {
  const { describe, it, beforeEach } = runner;
  describe(`ConnectionStore contract: ${name}`, () => {
    let store: ConnectionStore;

    beforeEach(() => {
      store = create();
    });

    const added = (id: string, topics: readonly string[] = []): FakeConnection => {
      const connection = new FakeConnection(id, topics);
      store.add(connection);
      return connection;
    };
    const owner = (id: string, topics: readonly string[] = []): FakeConnection => {
      const connection = added(id, topics);
      store.promote(connection);
      return connection;
    };
    const stored = (): LocalConnection[] => [...store.connections()];
    const subscribers = (topic: string): LocalConnection[] => [...store.subscribers(topic)];

    /** No trace of the connection is left. */
    const expectGone = (connection: FakeConnection): void => {
      expect(stored()).to.not.include(connection);
      expect(store.get(connection.id)).to.not.equal(connection);
      expect(store.find(connection.id, connection.token)).to.equal(undefined);
      for (const topic of connection.topics) {
        expect(subscribers(topic)).to.not.include(connection);
      }
    };

    it('is empty at first', () => {
      expect([store.size, store.opening, stored(), [...store.topics()]]).to.deep.equal([0, 0, [], []]);
      expect([store.get('a'), store.find('a', '1'), subscribers('t')]).to.deep.equal([undefined, undefined, []]);
      expect(store.deliverToAll(FRAME)).to.deep.include({ delivered: 0, buffered: 0, rejected: 0 });
      expect(store.deliverToTopic('t', FRAME)).to.deep.include({ delivered: 0, buffered: 0, rejected: 0 });
    });

    describe('add', () => {
      it('stores a connection that does not own its id yet', () => {
        const connection = added('a');
        expect([store.size, store.opening]).to.deep.equal([0, 1]);
        expect([store.get('a'), stored()]).to.deep.equal([undefined, [connection]]);
      });

      it('indexes its topics', () => {
        const connection = added('a', ['t', 'u']);
        expect([subscribers('t'), subscribers('u')]).to.deep.equal([[connection], [connection]]);
      });

      it('changes nothing for a connection that is there, opening or owner', () => {
        const opening = added('a', ['t']);
        store.add(opening);
        expect([store.size, store.opening, stored()]).to.deep.equal([0, 1, [opening]]);
        store.promote(opening);
        store.add(opening);
        expect([store.size, store.opening, stored()]).to.deep.equal([1, 0, [opening]]);
        expect([store.get('a'), subscribers('t')]).to.deep.equal([opening, [opening]]);
      });

      it('leaves the owner of the id untouched', () => {
        const present = owner('a', ['t']);
        const newcomer = added('a', ['t']);
        expect(store.get('a')).to.equal(present);
        expect([store.size, store.opening]).to.deep.equal([1, 1]);
        expect(subscribers('t')).to.have.members([present, newcomer]);
      });

      it('keeps several opening connections of one id apart', () => {
        const [one, two] = [added('a', ['t']), added('a', ['t'])];
        expect([store.opening, stored()]).to.deep.equal([2, [one, two]]);
        store.remove(one);
        expect([stored(), subscribers('t')]).to.deep.equal([[two], [two]]);
      });
    });

    describe('promote', () => {
      it('makes an opening connection the owner of its id', () => {
        const connection = added('a', ['t']);
        expect(store.promote(connection)).to.equal(undefined);
        expect([store.size, store.opening, store.get('a')]).to.deep.equal([1, 0, connection]);
        expect([stored(), subscribers('t')]).to.deep.equal([[connection], [connection]]);
      });

      it('returns the owner it displaces, which the store no longer has', () => {
        const former = owner('a', ['t', 'only former']);
        const newcomer = added('a', ['t']);
        expect(store.promote(newcomer)).to.equal(former);
        expect([store.size, store.opening, store.get('a')]).to.deep.equal([1, 0, newcomer]);
        expectGone(former);
        expect([...store.topics()]).to.deep.equal(['t']);
      });

      it('displaces no other connection', () => {
        const other = owner('b', ['t']);
        owner('a');
        expect(store.promote(added('a'))).to.not.equal(undefined);
        expect([store.get('b'), subscribers('t')]).to.deep.equal([other, [other]]);
      });

      it('changes nothing for the owner', () => {
        const connection = owner('a', ['t']);
        expect(store.promote(connection)).to.equal(undefined);
        expect([store.size, store.get('a'), subscribers('t')]).to.deep.equal([1, connection, [connection]]);
      });

      it('does not bring back a connection that was removed or displaced', () => {
        const removed = added('a', ['t']);
        store.remove(removed);
        const displaced = owner('b', ['t']);
        const present = owner('b');
        expect([store.promote(removed), store.promote(displaced)]).to.deep.equal([undefined, undefined]);
        expect([store.get('a'), store.get('b'), store.size]).to.deep.equal([undefined, present, 1]);
        expectGone(removed);
        expectGone(displaced);
      });
    });

    describe('remove', () => {
      it('removes an owner, and says so once', () => {
        const connection = owner('a', ['t']);
        expect([store.remove(connection), store.remove(connection)]).to.deep.equal([true, false]);
        expect([store.size, [...store.topics()]]).to.deep.equal([0, []]);
        expectGone(connection);
      });

      it('removes an opening connection, and says so once', () => {
        const connection = added('a', ['t']);
        expect([store.remove(connection), store.remove(connection)]).to.deep.equal([true, false]);
        expect([store.opening, [...store.topics()]]).to.deep.equal([0, []]);
        expectGone(connection);
      });

      it('knows no connection that was never added', () => {
        expect(store.remove(new FakeConnection('a'))).to.equal(false);
      });

      it('never removes another connection with the same id', () => {
        const present = owner('a', ['t']);
        const refused = added('a', ['t']);
        expect(store.remove(refused)).to.equal(true);
        expect([store.get('a'), subscribers('t'), store.size]).to.deep.equal([present, [present], 1]);
        const next = added('a', ['t']);
        store.promote(next);
        expect(store.remove(present)).to.equal(false);
        expect([store.get('a'), subscribers('t')]).to.deep.equal([next, [next]]);
      });
    });

    describe('find', () => {
      it('finds owner and opening connections of one id by their tokens', () => {
        const present = owner('a');
        const newcomer = added('a');
        expect([store.find('a', present.token), store.find('a', newcomer.token)]).to.deep.equal([present, newcomer]);
      });

      it('finds nothing when id and token do not belong together', () => {
        const [one, two, opening] = [owner('a'), owner('b'), added('c')];
        expect([
          store.find('a', two.token),
          store.find('b', one.token),
          store.find('a', opening.token),
          store.find('c', 'no token'),
        ]).to.deep.equal([undefined, undefined, undefined, undefined]);
      });
    });

    describe('connections', () => {
      it('are owners, oldest first, and every opening one', () => {
        const [a, b, c] = [owner('a'), owner('b'), owner('c')];
        const opening = [added('d'), added('a')];
        expect(stored().slice(0, 3)).to.deep.equal([a, b, c]);
        expect(stored().slice(3)).to.have.members(opening);
      });

      it('count the age of an owner from when it became one', () => {
        const [late, early] = [added('late'), owner('early')];
        store.promote(late);
        expect(stored()).to.deep.equal([early, late]);
      });

      it('put a newcomer that took an id over behind the others', () => {
        owner('a');
        const b = owner('b');
        const newcomer = owner('a');
        expect(stored()).to.deep.equal([b, newcomer]);
      });

      it('may be removed while they are looked at', () => {
        const all = [owner('a'), owner('b'), added('c'), added('d')];
        const seen: LocalConnection[] = [];
        for (const connection of store.connections()) {
          seen.push(connection);
          store.remove(connection);
        }
        expect(seen).to.have.members(all);
        expect(stored()).to.deep.equal([]);
      });
    });

    for (const [kind, make] of [
      ['an owner', owner],
      ['an opening connection', added],
    ] as const) {
      describe(`subscribe and unsubscribe of ${kind}`, () => {
        it('keep the index and the topics of the connection in step', () => {
          const connection = make('a', ['t']);
          expect(store.subscribe(connection, 'u')).to.equal(true);
          expect([[...connection.topics], subscribers('u')]).to.deep.equal([['t', 'u'], [connection]]);
          expect(store.unsubscribe(connection, 't')).to.equal(true);
          expect([[...connection.topics], subscribers('t')]).to.deep.equal([['u'], []]);
          expect([...store.topics()]).to.deep.equal(['u']);
        });

        it('answer whether they changed something', () => {
          const connection = make('a');
          expect([
            store.subscribe(connection, 't'),
            store.subscribe(connection, 't'),
            store.unsubscribe(connection, 't'),
            store.unsubscribe(connection, 't'),
          ]).to.deep.equal([true, false, true, false]);
        });

        it('change nothing once it was removed', () => {
          const connection = make('a', ['t']);
          store.remove(connection);
          expect([store.subscribe(connection, 'u'), store.unsubscribe(connection, 't')]).to.deep.equal([false, false]);
          expect([[...store.topics()], subscribers('u')]).to.deep.equal([[], []]);
        });

        it('leave other subscribers alone', () => {
          const [one, two] = [make('a', ['t']), make('b', ['t'])];
          store.unsubscribe(one, 't');
          expect([subscribers('t'), [...store.topics()]]).to.deep.equal([[two], ['t']]);
        });
      });
    }

    describe('topics', () => {
      it('are those with at least one subscriber, once each', () => {
        const one = owner('a', ['t', 'u']);
        added('b', ['u', 'v']);
        expect([...store.topics()]).to.have.members(['t', 'u', 'v']);
        store.remove(one);
        expect([...store.topics()]).to.have.members(['u', 'v']);
      });

      it('may have the names of built-in properties', () => {
        const connection = owner('__proto__', ['constructor', '__proto__']);
        expect([
          subscribers('constructor'),
          subscribers('__proto__'),
          subscribers('toString'),
          store.get('__proto__'),
          store.get('constructor'),
        ]).to.deep.equal([[connection], [connection], [], connection, undefined]);
      });
    });

    const fanOuts = [
      ['deliverToAll', (frame: Frame) => store.deliverToAll(frame)],
      ['deliverToTopic', (frame: Frame) => store.deliverToTopic('t', frame)],
    ] as const;
    for (const [verb, deliver] of fanOuts) {
      describe(verb, () => {
        it('delivers the same frame object to each connection once, opening ones included', () => {
          const all = [owner('a', ['t']), owner('b', ['t']), added('c', ['t']), added('a', ['t'])];
          deliver(FRAME);
          for (const { frames } of all) {
            expect(frames).to.have.length(1);
            expect(frames[0]).to.equal(FRAME);
          }
        });

        it('adds up the outcomes', () => {
          const answers = [
            { outcome: 'delivered' },
            { outcome: 'delivered' },
            { outcome: 'delivered' },
            { outcome: 'buffered' },
            { outcome: 'buffered' },
            { outcome: 'not-connected' },
            { outcome: 'rejected', code: 'SEND_BUFFER_FULL' },
          ] as const;
          answers.forEach((answer, index) => {
            const connection = (index % 2 === 0 ? owner : added)(`c${index}`, ['t']);
            connection.answer = answer;
          });
          expect(deliver(FRAME)).to.deep.include({ delivered: 3, buffered: 2, rejected: 2 });
        });

        it('delivers several frames in their order', () => {
          const connection = owner('a', ['t']);
          const frames = Array.from({ length: 5 }, () => ({ bytes: Buffer.from('data:\n\n') }));
          for (const frame of frames) deliver(frame);
          expect(connection.frames).to.deep.equal(frames);
        });

        it('reaches no connection that was removed or displaced', () => {
          const [removed, displaced] = [owner('a', ['t']), owner('b', ['t'])];
          store.remove(removed);
          owner('b', ['t']);
          expect(deliver(FRAME)).to.deep.include({ delivered: 1, buffered: 0, rejected: 0 });
          expect([removed.frames, displaced.frames]).to.deep.equal([[], []]);
        });

        it('reaches each remaining connection when the delivery removes some', () => {
          const all = Array.from({ length: 20 }, (_, index) => (index % 4 === 3 ? added : owner)(`c${index}`, ['t']));
          for (const connection of all.filter((_, index) => index % 2 === 0)) {
            connection.answer = { outcome: 'rejected', code: 'SEND_BUFFER_FULL' };
            connection.onFrame = () => {
              store.remove(connection);
            };
          }
          expect(deliver(FRAME)).to.deep.include({ delivered: 10, buffered: 0, rejected: 10 });
          expect(all.map(({ frames }) => frames.length)).to.deep.equal(Array(20).fill(1));
          expect(stored()).to.have.length(10);
        });

        it('goes on when a connection throws, and counts it as dropped', () => {
          const first = owner('a', ['t']);
          owner('b', ['t']);
          added('c', ['t']);
          first.onFrame = () => {
            throw new Error('broken connection');
          };
          expect(deliver(FRAME)).to.deep.include({ delivered: 2, buffered: 0, rejected: 1 });
        });

        it('answers with a result that later calls do not change', () => {
          owner('a', ['t']);
          const first = deliver(FRAME);
          owner('b', ['t']);
          deliver(FRAME);
          expect(first).to.deep.include({ delivered: 1, buffered: 0, rejected: 0 });
        });
      });
    }

    it('deliverToTopic reaches the subscribers of that topic alone', () => {
      const [one, two, both] = [owner('a', ['t']), owner('b', ['u']), added('c', ['t', 'u'])];
      store.deliverToTopic('t', FRAME);
      store.deliverToTopic('nobody', FRAME);
      expect([one, two, both].map(({ frames }) => frames.length)).to.deep.equal([1, 0, 1]);
    });

    it('closes nothing, whatever happens', () => {
      const [former, newcomer, refused] = [owner('a', ['t']), added('a', ['t']), added('a')];
      store.promote(newcomer);
      store.remove(refused);
      store.deliverToAll(FRAME);
      store.unsubscribe(newcomer, 't');
      store.remove(newcomer);
      expect([former, newcomer, refused].map(({ ends }) => ends)).to.deep.equal([0, 0, 0]);
    });
  });
}
