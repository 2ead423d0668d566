import type {
  ClusterCoordinator,
  Message,
  Publication,
  RegistrationResult,
  ReplayPage,
  ReplayRequest,
  Retention,
} from '../../../contracts/cluster.js';
import type { Cursor, Gap } from '../../../contracts/events.js';
import type { ReconcileReport, ReconcileRequest } from '../../../contracts/self-check.js';
import type { RecordingListener } from '../recording-listener.js';
import { until } from '../until.js';

/** A node of the cluster under test. */
export interface Node {
  readonly coordinator: ClusterCoordinator;
  readonly listener: RecordingListener;
}

const KEEP: Retention = { maxEntries: 100, ttl: 60_000 };
const EVERYTHING = 1000;
export const CHECK: ReconcileRequest = {
  scope: 'node',
  maxRepairs: 1_000,
  settle: 20,
  sample: 200,
  notify: false,
};
/** Retention is a minimum: so many entries that some of them are trimmed by any implementation. */
export const MUCH = 250;

/** The number of the present test, of all that run the contract in this process. */
const test = { present: 0 };

/** Begins a test: names that no other test uses, for its connections, tokens, messages, topics, key and lock. */
export function ownNames() {
  test.present += 1;
  const own = (name: string): string => `${name}.${test.present}`;
  return {
    c1: own('c1'),
    c2: own('c2'),
    c3: own('c3'),
    t1: own('t1'),
    t2: own('t2'),
    t9: own('t9'),
    m1: own('m1'),
    m2: own('m2'),
    news: own('news'),
    sport: own('sport'),
    key: own('key'),
    lock: own('lock'),
  };
}

/** Registers a connection that is still opening. */
export function register(
  { coordinator, listener }: Node,
  connectionId: string,
  token: string,
  onDuplicate: 'takeover' | 'reject' = 'takeover',
): Promise<RegistrationResult> {
  listener.opening.add(`${connectionId} ${token}`);
  return coordinator.routes.register({ connectionId, token, onDuplicate });
}

/** Registers a connection that the node has from then on. */
export async function connect(node: Node, connectionId: string, token: string): Promise<void> {
  node.listener.connections.set(connectionId, token);
  await register(node, connectionId, token);
  node.listener.opening.delete(`${connectionId} ${token}`);
}

/** What the connections of a node got. A coordinator may repeat a message; a connection ignores an id that it had before. */
export function messagesOf({ listener }: Node): RecordingListener['messages'] {
  const ids = listener.messages.map(({ messageId }) => messageId);
  return listener.messages.filter(({ messageId }, n) => ids.indexOf(messageId) === n);
}

export async function names({ coordinator }: Node): Promise<string[]> {
  return (await coordinator.routes.nodes()).map(({ nodeId }) => nodeId);
}

export async function subscribeAll(nodes: readonly Node[], ...topics: string[]): Promise<void> {
  for (const { coordinator } of nodes) await coordinator.log.subscribe(topics);
}

/** Resolves when what was under way to these nodes has arrived: commands and events come in the order of their cause. */
export async function settled(...nodes: readonly Node[]): Promise<void> {
  const marker = `data: settled ${Math.random()}\n\n`;
  for (const { coordinator } of nodes) {
    // After an outage a node may catch up with the log before its other connection is back.
    await until(() => coordinator.status().reachable, 'the node to reach the cluster');
    await coordinator.log.publish({ topic: undefined, body: Buffer.from(marker), retention: false });
  }
  for (const { listener } of nodes) {
    await until(
      () => listener.publications.filter(({ text }) => text === marker).length === nodes.length,
      'the marker',
    );
    const others = listener.publications.filter(({ text }) => text !== marker);
    listener.publications.splice(0, Infinity, ...others);
  }
}

export function publication(topic: string | undefined, text: string, retention: Retention = KEEP): Publication {
  return { topic, body: Buffer.from(text), retention };
}

export function broadcast(text: string): Publication {
  return publication(undefined, `data: ${text}\n\n`);
}

/** Publishes `0`, `1`, … of this test to these topics. */
export async function publishAll(
  { coordinator }: Node,
  topics: readonly (string | undefined)[],
  retention: Retention = KEEP,
): Promise<Cursor[]> {
  const cursors: Cursor[] = [];
  for (const [n, topic] of topics.entries()) {
    const result = await coordinator.log.publish(publication(topic, `data: ${test.present} ${n}\n\n`, retention));
    cursors.push(cursorOf(result));
  }
  return cursors;
}

export function isSame(position: Cursor | undefined, other: Cursor): boolean {
  return position?.ms === other.ms && position.sequence === other.sequence;
}

export async function head(node: Node): Promise<Cursor> {
  return (await replay(node, { topics: [] })).head;
}

/** For coordinators with a self-check. */
export async function reconcile({ coordinator }: Node, request: ReconcileRequest): Promise<ReconcileReport> {
  if (coordinator.selfCheck === undefined) throw new Error('there is no self-check');
  return coordinator.selfCheck.reconcile(request);
}

export function replay(
  { coordinator }: Node,
  request: Omit<ReplayRequest, 'limit' | 'after'> & {
    readonly limit?: number;
    readonly after?: Cursor | undefined;
  },
): Promise<ReplayPage> {
  const { after, limit = EVERYTHING, ...rest } = request;
  return coordinator.log.replay({ ...rest, limit, ...(after === undefined ? {} : { after }) });
}

/** The numbers of {@link publishAll} in a page. The log also keeps the broadcasts of other tests. */
export function texts({ frames }: ReplayPage): string[] {
  return frames
    .map(({ bytes }) => /data: (\d+) (\d+)/.exec(bytes.toString()))
    .flatMap(found => (found?.[1] === `${test.present}` ? [found[2] ?? ''] : []));
}

export function numbersUpTo(count: number): string[] {
  return Array.from({ length: count }, (_, n) => `${n}`);
}

export function message(connectionId: string, messageId: string, text = 'data: x\n\n'): Message & { ack: 'owner' } {
  const frame = { bytes: Buffer.from(text) };
  return { connectionId, messageId, frame, ack: 'owner', deadline: 3000 };
}

export function fencingTokenOf(result: RegistrationResult): number {
  if (result.outcome !== 'registered') throw new Error(`not registered but ${result.outcome}`);
  return result.fencingToken;
}

export function cursorOf({ cursor }: { readonly cursor?: Cursor }): Cursor {
  if (cursor === undefined) throw new Error('not kept');
  return cursor;
}

/** One call of each method that has no rule of its own. */
export function everyCall(coordinator: ClusterCoordinator): Promise<unknown>[] {
  return [
    coordinator.routes.register({ connectionId: 'c', token: 't', onDuplicate: 'takeover' }),
    coordinator.routes.unregister('c', 't'),
    coordinator.routes.releaseAll(),
    coordinator.routes.locate('c'),
    coordinator.routes.count(),
    coordinator.routes.nodes(),
    coordinator.log.publish(publication('news', 'data: x\n\n')),
    coordinator.log.subscribe(['news']),
    coordinator.log.remember({ connectionId: 'c', topic: 'news', change: 'add', limit: 1, ttl: 1_000 }),
    coordinator.log.recall('c', 1_000),
    coordinator.log.replay({ topics: [], limit: 1 }),
    coordinator.messenger.hasReached('c', { ms: 1, sequence: 1 }),
    coordinator.messenger.confirm({ connectionId: 'c', token: 't', handled: ['m'], failed: [] }),
    coordinator.messenger.isConfirmed('c', 'm', 100),
    coordinator.locks.acquireLock('thing', 'me', 1000),
    coordinator.locks.lockHolder('thing'),
    coordinator.locks.releaseLock('thing', 'me'),
    coordinator.log.forget('news'),
    coordinator.log.kept('news'),
    coordinator.messenger.endSource('key'),
    coordinator.messenger.outcomeOf({ connectionId: 'c', messageId: 'm', age: 1 }),
    coordinator.messenger.close('c', 'kicked'),
    coordinator.messenger.closeAll('kicked'),
    coordinator.messenger.subscribe('c', 'news'),
    coordinator.messenger.unsubscribe('c', 'news'),
    coordinator.messenger.presence('news'),
    ...(coordinator.selfCheck === undefined ? [] : [coordinator.selfCheck.reconcile(CHECK)]),
  ];
}

/** The reason of the gap in a page and its topics, without positions. */
export function gapIn({
  gap,
}: {
  readonly gap?: Gap | undefined;
}): { reason: Gap['reason']; topics: string[] | undefined } | undefined {
  return gap && { reason: gap.reason, topics: gap.topics && [...gap.topics.keys()] };
}
