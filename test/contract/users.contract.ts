import { expect } from 'chai';
import type { ConnectionOptions, SseService } from '../../src/contracts/service.js';
import { connectionIdOf, privateName } from '../../src/protocol/names.js';
import { codeOf } from '../support/code-of.js';
import { RecordingSink } from '../support/recording-sink.js';
import { until } from '../support/until.js';
import type { Client } from './sse-service.contract.js';

/** The two nodes of a contract, and its ways to connect, and to cut a node off. */
export interface TwoNodes {
  readonly here: () => SseService;
  readonly there: () => SseService;
  connect(service: SseService, id: string, options?: ConnectionOptions, sink?: RecordingSink): Promise<Client>;
  cut?(nodeId: string): void | Promise<void>;
  heal?(nodeId: string): void | Promise<void>;
}

/** What users change. */
export function describeUsers({ here, there, connect, cut, heal }: TwoNodes): void {
  let made = 0;
  let [alice, mallory] = ['', ''];

  beforeEach(() => {
    made += 1;
    [alice, mallory] = [`alice/${made} ü`, `mallory${made}`];
  });

  it('a connection of a user has the user in its id, and its client sees the rest', async () => {
    const { connection, sink } = await connect(here(), 'tab1', { user: alice });
    expect(connection.id)
      .to.equal(`${encodeURIComponent(alice)}/tab1`)
      .and.to.equal(connectionIdOf(alice, 'tab1'));
    expect(connection.user).to.equal(alice);
    expect(sink.events[0]?.data).to.equal('{"connectionId":"tab1","nodeId":"here"}');
    expect(await there().locate(connection.id)).to.equal('here');
  });

  it('two users may have the same id: neither takes over the other', async () => {
    const own = await connect(here(), 'tab1', { user: alice });
    const foreign = await connect(there(), 'tab1', { user: mallory });
    const again = await connect(there(), 'tab1', { user: alice });
    await until(() => own.sink.ended, 'the takeover by the same user');
    expect(foreign.connection.state.kind).to.equal('open');
    expect(again.connection.state.kind).to.equal('open');
  });

  it('an id without a user cannot name the connection of a user', async () => {
    const { connection } = await connect(here(), 'tab1', { user: alice });
    expect(await codeOf(connect(there(), connection.id))).to.equal('INVALID_CONNECTION_ID');
    expect(connection.state.kind).to.equal('open');
  });

  it('a ticket admits its user once, on any node, however many redeem it', async () => {
    const expiresAt = new Date(Date.now() + 60_000);
    const ticket = await here().tickets.issue({ user: alice, expiresAt, topics: ['news'] });
    const answers = await Promise.all(
      [here(), there(), here(), there()].map(service => service.tickets.redeem(ticket)),
    );
    expect(answers.filter(answer => answer !== undefined)).to.deep.equal([
      { user: alice, expiresAt, topics: ['news'] },
    ]);
    expect(await there().tickets.redeem(ticket)).to.equal(undefined);
    for (const made of ['', 'x'.repeat(43), `${ticket.slice(1)}A`, '../../x']) {
      expect(await here().tickets.redeem(made)).to.equal(undefined);
    }
  });

  it('a ticket admits nobody when its time is over', async () => {
    const ticket = await here().tickets.issue({ user: alice }, { ttl: 1 });
    const since = performance.now();
    await until(() => performance.now() - since > 20, 'the time');
    expect(await there().tickets.redeem(ticket)).to.equal(undefined);
    expect(await codeOf(here().tickets.issue({ user: alice }, { ttl: 300_001 }))).to.equal('INVALID_OPTION');
    expect(await codeOf(here().tickets.issue({ user: '' }))).to.equal('INVALID_USER');
  });

  it('the whole id has at most 256 bytes', async () => {
    const room = 256 - encodeURIComponent(alice).length - 1;
    const { connection } = await connect(here(), 'i'.repeat(room), { user: alice });
    expect(connection.id).to.have.length(256);
    expect(await codeOf(connect(here(), 'i'.repeat(room + 1), { user: alice }))).to.equal('INVALID_CONNECTION_ID');
    expect(await codeOf(connect(here(), 'tab1', { user: '' }))).to.equal('INVALID_USER');
  });

  it('an event for a user reaches every stream of that user and no other, and is replayed', async () => {
    const first = await connect(here(), 'tab1', { user: alice });
    const second = await connect(there(), 'tab2', { user: alice });
    const other = await connect(there(), 'tab1', { user: mallory });
    const plain = await connect(here(), `plain${made}`);
    const { outcome } = await there().publishToUser(alice, 'message', 'one');
    expect(outcome).to.equal('stored');
    await until(() => first.sink.data('message').length + second.sink.data('message').length === 2, 'the event');
    const lastEventId = first.sink.events.at(-1)?.id ?? '';
    first.sink.leave();
    await here().publishToUser(alice, 'message', 'two');
    const back = await connect(there(), 'tab1', { user: alice, lastEventId });
    await until(() => back.sink.data('message').length === 1, 'the replay');
    expect(back.sink.data('message')).to.deep.equal(['two']);
    const forged = await connect(here(), 'tab3', { user: mallory, lastEventId });
    await here().broadcastToCluster('message', 'all');
    await until(() => forged.sink.data('message').length === 1, 'the broadcast');
    for (const { sink } of [other, plain, forged]) expect(sink.data('message')).to.deep.equal(['all']);
  });

  it('the connections of a user are known on every node, and presence names users', async () => {
    const topic = `room${made}`;
    const first = await connect(here(), 'tab1', { user: alice, topics: [topic] });
    const second = await connect(there(), 'tab2', { user: alice, ids: 'application' });
    await connect(there(), 'tab1', { user: mallory });
    const { connections, missing } = await here().connectionsOf(alice);
    expect(connections).to.have.deep.members([
      { connectionId: first.connection.id, nodeId: 'here', user: alice },
      { connectionId: second.connection.id, nodeId: 'there', user: alice },
    ]);
    expect(missing).to.deep.equal([]);
    expect((await there().presence(topic)).connections.map(({ user }) => user)).to.deep.equal([alice]);
  });

  it("another user's topic is refused, when connecting and when subscribing", async () => {
    const topic = privateName(alice, 'orders');
    const { connection, sink } = await connect(here(), 'tab1', { user: alice, topics: [topic] });
    await there().publish(topic, 'message', 'private');
    await until(() => sink.data('message').length === 1, 'the event');
    for (const options of [{ topics: [topic] }, { user: mallory, topics: [topic] }]) {
      expect(await codeOf(connect(there(), `x${made}`, options))).to.equal('FORBIDDEN');
    }
    const { connection: foreign } = await connect(there(), 'tab1', { user: mallory });
    const refused = { outcome: 'rejected', code: 'FORBIDDEN' };
    expect(await here().subscribe(foreign.id, topic)).to.deep.equal(refused);
    expect(await here().subscribe(connectionIdOf(mallory, 'away'), topic)).to.deep.equal(refused);
    expect(await there().subscribe(connection.id, topic)).to.deep.equal({ outcome: 'delivered' });
  });

  it('the topic of a user cannot be named', async () => {
    const name = `=${encodeURIComponent(alice)}`;
    expect(await codeOf(connect(here(), 'tab1', { user: alice, topics: [name] }))).to.equal('INVALID_TOPIC');
    expect(await codeOf(here().publish(name, 'message', 'x'))).to.equal('INVALID_TOPIC');
    expect(await codeOf(here().presence(name))).to.equal('INVALID_TOPIC');
    expect(await codeOf(here().subscribe(`x${made}`, name))).to.equal('INVALID_TOPIC');
  });

  it('a resumable source belongs to the user of its first follower, on every node', async () => {
    const key = `answer${made}`;
    const source = {
      key,
      async *start() {
        yield 'secret';
        await new Promise(() => undefined);
      },
    };
    const own = await connect(here(), 'tab1', { user: alice, source });
    await until(() => own.sink.data('message').length === 1, 'the first event');
    for (const service of [here(), there()]) {
      const { lastEventId } = { lastEventId: own.sink.events[0]?.id ?? '' };
      expect(await codeOf(connect(service, 'tab1', { user: mallory, source, lastEventId }))).to.equal('FORBIDDEN');
      expect(await codeOf(connect(service, `x${made}`, { source }))).to.equal('FORBIDDEN');
    }
    const tab = await connect(there(), 'tab2', { user: alice, source });
    await until(() => tab.sink.data('message').length === 1, 'the event on another node');
    await here().forgetSource(key);
  });

  describe('a revocation', () => {
    const reasonOf = ({ connection }: Client): string | undefined =>
      'reason' in connection.state ? connection.state.reason : undefined;

    it('ends all streams of a user on every node, and no other', async () => {
      const own = [await connect(here(), 'tab1', { user: alice }), await connect(there(), 'tab2', { user: alice })];
      const others = [await connect(there(), 'tab1', { user: mallory }), await connect(here(), `plain${made}`)];
      expect(await here().revoke({ user: alice })).to.deep.equal({ closed: 2, missing: [] });
      expect(own.map(reasonOf)).to.deep.equal(['revoked', 'revoked']);
      for (const { sink } of own) expect(sink.lastEvent?.event).to.equal('sse.closed');
      for (const { connection } of others) expect(connection.state.kind).to.equal('open');
      // Clients that are admitted later are not concerned.
      const again = await connect(there(), 'tab2', { user: alice });
      expect(again.connection.state.kind).to.equal('open');
    });

    it('of one connection ends that connection, with the reason of the application', async () => {
      const one = await connect(there(), 'tab1', { user: alice });
      const two = await connect(there(), 'tab2', { user: alice });
      const revoked = await here().revoke({ connectionId: one.connection.id }, { reason: 'signed-out' });
      expect(revoked).to.deep.equal({ closed: 1, missing: [] });
      expect([reasonOf(one), reasonOf(two)]).to.deep.equal(['signed-out', undefined]);
    });

    it('that cuts sends nothing more, whatever waits', async () => {
      const sink = new RecordingSink();
      await connect(there(), 'tab1', { user: alice }, sink);
      sink.block();
      there().sendMessage(connectionIdOf(alice, 'tab1'), 'message', 'waits');
      there().sendMessage(connectionIdOf(alice, 'tab1'), 'message', 'waits too');
      const before = sink.events.length;
      await here().revoke({ user: alice }, { cut: true });
      await until(() => sink.destroyed, 'the cut');
      expect(sink.events).to.have.length(before);
    });

    it('of topics takes them away, also from a client that is away', async () => {
      const [secret, news] = [`secret${made}`, `news${made}`];
      const first = await connect(here(), 'tab1', { user: alice, topics: [news] });
      const away = await connect(there(), 'tab2', { user: alice });
      for (const { connection } of [first, away]) await here().subscribe(connection.id, secret);
      await here().publish(secret, 'message', 'before');
      await until(() => away.sink.data('message').length === 1, 'the event');
      const lastEventId = away.sink.events.at(-1)?.id ?? '';
      away.sink.leave();
      expect(await there().revoke({ user: alice, topics: [secret, news] })).to.have.property('closed', 1);
      await here().publish(secret, 'message', 'after');
      const back = await connect(here(), 'tab2', { user: alice, lastEventId });
      expect([...back.connection.topics]).to.not.include(secret);
      await here().publishToUser(alice, 'message', 'last');
      await until(() => back.sink.data('message').includes('last'), 'the last event');
      expect(back.sink.data('message')).to.deep.equal(['last']);
      expect(first.sink.data('message')).to.deep.equal(['before', 'last']);
    });

    it('ends a stream that is opening, and one whose client was admitted before', async () => {
      let opening = (): void => undefined;
      const begun = new Promise<void>(resolve => (opening = resolve));
      const sink = new RecordingSink();
      const admittedAt = performance.now();
      const beforeOpen = (): Promise<void> => {
        opening();
        return new Promise(() => undefined);
      };
      const attempt = codeOf(there().createConnection('tab1', sink, { user: alice, beforeOpen }));
      await begun;
      await here().revoke({ user: alice });
      expect(await attempt).to.equal('FORBIDDEN');
      for (const service of [here(), there()]) {
        const late = service.createConnection('tab1', new RecordingSink(), { user: alice, admittedAt });
        expect(await codeOf(late)).to.equal('FORBIDDEN');
      }
    });

    it('refuses what it cannot understand', async () => {
      expect(await codeOf(here().revoke({ user: '' }))).to.equal('INVALID_USER');
      expect(await codeOf(here().revoke({ connectionId: '' }))).to.equal('INVALID_CONNECTION_ID');
      expect(await codeOf(here().revoke({ user: alice, topics: ['*'] }))).to.equal('INVALID_TOPIC');
      expect(await codeOf(here().revoke({ user: alice }, { reason: 'no blanks' }))).to.equal('INVALID_REASON');
      expect(await codeOf(here().revoke({ user: alice }, { ttl: 0 }))).to.equal('INVALID_OPTION');
    });

    if (cut === undefined || heal === undefined) return;

    it('is carried out by a node that was cut off, once it is back', async () => {
      const remote = await connect(there(), 'tab1', { user: alice });
      const local = await connect(here(), 'tab2', { user: alice });
      await cut('there');
      try {
        const { closed, missing } = await here().revoke({ user: alice });
        expect(closed).to.equal(1);
        expect(missing).to.deep.equal(['there']);
        expect(reasonOf(local)).to.equal('revoked');
        expect(remote.connection.state.kind).to.equal('open');
      } finally {
        await heal('there');
      }
      await until(() => reasonOf(remote) === 'revoked', 'the end of the stream');
    });

    it('of a node that is cut off is carried out there, and elsewhere once the node is back', async () => {
      const remote = await connect(there(), 'tab1', { user: alice });
      const local = await connect(here(), 'tab2', { user: alice });
      await cut('here');
      try {
        const revoked = await here().revoke({ user: alice });
        expect(revoked).to.deep.equal({ closed: 1, missing: [], unavailable: 'CLUSTER_UNREACHABLE' });
        expect(reasonOf(local)).to.equal('revoked');
      } finally {
        await heal('here');
      }
      await until(() => reasonOf(remote) === 'revoked', 'the end of the stream');
    });
  });
}
