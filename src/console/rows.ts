import type { ConnectionStore, LocalConnection } from '../contracts/store.js';
import type { SseNode } from '../node/node.js';
import type { ResumableSources } from '../node/sources.js';
import { formatCursor } from '../protocol/cursor.js';
import { isInternal, isSourceTopic, sourceKey } from '../protocol/names.js';
import type { ConnectionRow, SourceRow, TopicRow } from './contract.js';
import { type Check, isFlag, isListOf, isNumber, isOneOf, isShape, isText, orNull } from './shape.js';

/** What a row needs of the recorder, if there is one. */
interface Recorded {
  reconnectsOf(connectionId: string): number;
  rateOf(topic: string): number;
  readonly closed: readonly ConnectionRow[];
}

export const STATES = ['open', 'opening', 'draining', 'waiting', 'closed'] as const;
export const SORTS = ['id', 'age', 'newest', 'waiting'] as const;
export const TOPIC_SORTS = ['subscribers', 'rate', 'name'] as const;

/** Which connections, in which order, from where on. */
export interface ConnectionsQuery {
  readonly search: string;
  readonly user: string | null;
  readonly topic: string | null;
  readonly state: (typeof STATES)[number] | null;
  readonly sort: (typeof SORTS)[number];
  readonly limit: number;
  readonly after: SortKey | null;
}

/** Where a row stands in an order: its value, then its id, then its node. */
export interface SortKey {
  readonly value: number;
  readonly connectionId: string;
  readonly nodeId: string;
}

/** One node's share of a page. */
interface ConnectionsPart {
  readonly total: number;
  readonly matching: number;
  readonly rows: readonly ConnectionRow[];
}

const MOST_ROW_TOPICS = 20;
const MOST_TOPIC_CHARACTERS = 1_000;
/** Connections that are looked at between two turns of the event loop. */
const SLICE = 1_000;

/** This node's first connections after a position, in order. Lets the event loop turn between slices. */
export async function findConnections(
  { store, options }: SseNode,
  query: ConnectionsQuery,
  recorded: Recorded | undefined,
): Promise<ConnectionsPart> {
  const nodeId = options.node.id;
  if (query.state === 'closed') {
    const page = new Page<ConnectionRow>(nodeId, query);
    for (const row of recorded?.closed ?? [])
      page.offer(valueOf(query.sort, row.openedAt, row.waitingBytes), row.connectionId, row);
    return page.read(row => row);
  }
  const page = new Page<LocalConnection>(nodeId, query);
  let looked = 0;
  for (const connection of store.connections()) {
    looked += 1;
    if (looked % SLICE === 0) await new Promise(resolve => setImmediate(resolve));
    if (matches(connection, query)) {
      const value = valueOf(query.sort, wallTimeOf(connection.openedAt), connection.sendBufferBytes);
      page.offer(value, connection.id, connection);
    } else page.skip();
  }
  return page.read(connection => rowOf(connection, nodeId, recorded));
}

/** The row of one connection. */
export function rowOf(
  connection: LocalConnection,
  nodeId: string,
  recorded: Pick<Recorded, 'reconnectsOf'> | undefined,
): ConnectionRow {
  const { id: connectionId, state, cursor, lastOutcome, lastEventId, piping } = connection;
  const named = [...connection.topics].filter(topic => !isInternal(topic));
  let characters = 0;
  const topics = named.slice(0, MOST_ROW_TOPICS).filter(({ length }) => {
    characters += length;
    return characters <= MOST_TOPIC_CHARACTERS;
  });
  return {
    connectionId,
    nodeId,
    user: connection.user ?? null,
    state: state.kind,
    topics,
    topicCount: named.length,
    openedAt: wallTimeOf(connection.openedAt),
    ageMs: Math.round(performance.now() - connection.openedAt),
    waitingBytes: connection.sendBufferBytes,
    cursor: cursor === undefined ? null : formatCursor(cursor),
    resumed: lastEventId !== undefined,
    reconnects: recorded?.reconnectsOf(connectionId) ?? 0,
    lastOutcome: lastOutcome === undefined || lastOutcome === 'not-connected' ? null : lastOutcome,
    streaming: piping,
    closeReason: 'reason' in state ? state.reason : null,
  };
}

/** Milliseconds since 1970 of a time by the monotonic clock; the same time always gives the same number. */
export function wallTimeOf(monotonic: number): number {
  return Math.round(performance.timeOrigin + monotonic);
}

/** Negative when `a` comes before `b` in the order of a query. */
export function compareKeys(a: SortKey, b: SortKey): number {
  return a.value - b.value || compareText(a.connectionId, b.connectionId) || compareText(a.nodeId, b.nodeId);
}

/** Where a row stands in the order of a query. */
export function sortKeyOf(row: ConnectionRow, { sort }: Pick<ConnectionsQuery, 'sort'>): SortKey {
  return { value: valueOf(sort, row.openedAt, row.waitingBytes), connectionId: row.connectionId, nodeId: row.nodeId };
}

function valueOf(sort: ConnectionsQuery['sort'], openedAt: number, waitingBytes: number): number {
  switch (sort) {
    case 'id':
      return 0;
    case 'age':
      return openedAt;
    case 'newest':
      return -openedAt;
    case 'waiting':
      return -waitingBytes;
  }
}

function matches(connection: LocalConnection, { search, user, topic, state }: ConnectionsQuery): boolean {
  const { kind } = connection.state;
  if (state === 'waiting' ? kind !== 'open' || connection.sendBufferBytes === 0 : state !== null && kind !== state) {
    return false;
  }
  if (topic !== null && !connection.topics.has(topic)) return false;
  if (user !== null && connection.user !== user) return false;
  return search === '' || connection.id.includes(search) || connection.user?.includes(search) === true;
}

/** Keeps the first items of those that it is offered. Costs no memory for an item that is not kept. */
class Page<T> {
  #kept: (SortKey & { readonly item: T })[] = [];
  /** Once there are enough: none after this one is on the page. */
  #last: SortKey | undefined;
  #total = 0;
  #matching = 0;

  constructor(
    private readonly nodeId: string,
    private readonly query: ConnectionsQuery,
  ) {}

  skip(): void {
    this.#total += 1;
  }

  offer(value: number, connectionId: string, item: T): void {
    this.#total += 1;
    this.#matching += 1;
    const { nodeId } = this;
    const { after, limit } = this.query;
    if (after !== null && isBehind(after, value, connectionId, nodeId)) return;
    if (this.#last !== undefined && !isBehind(this.#last, value, connectionId, nodeId)) return;
    this.#kept.push({ value, connectionId, nodeId, item });
    if (this.#kept.length >= 4 * limit) this.#cut();
  }

  read(rowOf: (item: T) => ConnectionRow): ConnectionsPart {
    this.#cut();
    return { total: this.#total, matching: this.#matching, rows: this.#kept.map(({ item }) => rowOf(item)) };
  }

  #cut(): void {
    const { limit } = this.query;
    this.#kept.sort(compareKeys);
    // One more than asked for shows that there is a next page.
    this.#kept = this.#kept.slice(0, limit + 1);
    if (this.#kept.length > limit) this.#last = this.#kept.at(-1);
  }
}

/** Whether a place in the order is not after a key. */
function isBehind(key: SortKey, value: number, connectionId: string, nodeId: string): boolean {
  if (value !== key.value) return value < key.value;
  if (connectionId !== key.connectionId) return connectionId < key.connectionId;
  return nodeId <= key.nodeId;
}

/** One node's share of the topics. */
interface TopicsPart {
  readonly total: number;
  readonly rows: readonly Pick<TopicRow, 'topic' | 'subscribers' | 'rate'>[];
}

/** This node's topics with most subscribers, or the highest rate, or the first names. */
export function findTopics(
  { store }: SseNode,
  { search, sort, limit }: { readonly search: string; readonly sort: TopicSort; readonly limit: number },
  recorded: Recorded | undefined,
): TopicsPart {
  let total = 0;
  const rows: TopicsPart['rows'][number][] = [];
  for (const topic of store.topics()) {
    if (isInternal(topic)) continue;
    total += 1;
    if (!topic.includes(search)) continue;
    rows.push({ topic, subscribers: countSubscribers(store, topic), rate: recorded?.rateOf(topic) ?? null });
  }
  return { total, rows: rows.sort(topicOrder(sort)).slice(0, limit) };
}

export type TopicSort = (typeof TOPIC_SORTS)[number];

export function topicOrder(sort: TopicSort): (a: TopicsPart['rows'][number], b: TopicsPart['rows'][number]) => number {
  const byName = (a: { readonly topic: string }, b: { readonly topic: string }) => compareText(a.topic, b.topic);
  switch (sort) {
    case 'subscribers':
      return (a, b) => b.subscribers - a.subscribers || byName(a, b);
    case 'rate':
      return (a, b) => (b.rate ?? 0) - (a.rate ?? 0) || byName(a, b);
    case 'name':
      return byName;
  }
}

/** This node's share of the resumable sources: what runs or has ended of late here, and how many follow it here. */
export function findSources({ store, options }: SseNode, sources: ResumableSources, search: string): SourceRow[] {
  const nodeId = options.node.id;
  const rows = new Map<string, SourceRow>();
  for (const [key, { run }] of sources.runs) {
    const startedAt = wallTimeOf(run.startedAt);
    rows.set(key, { key, state: 'running', nodeId, followers: 0, events: run.events, startedAt });
  }
  for (const { key, ending, events, startedAt } of sources.recent) {
    if (rows.has(key)) continue;
    rows.set(key, { key, state: ending, nodeId: null, followers: 0, events, startedAt: wallTimeOf(startedAt) });
  }
  for (const topic of store.topics()) {
    if (!isSourceTopic(topic)) continue;
    const key = sourceKey(topic);
    const known = rows.get(key);
    const state = known?.state ?? sources.endings.get(key)?.ending ?? 'running';
    const row = known ?? { key, state, nodeId: null, followers: 0, events: null, startedAt: null };
    rows.set(key, { ...row, followers: countSubscribers(store, topic) });
  }
  return [...rows.values()].filter(({ key }) => key.includes(search)).slice(0, MOST_SOURCES);
}

const MOST_SOURCES = 200;

function countSubscribers(store: ConnectionStore, topic: string): number {
  const subscribers = store.subscribers(topic);
  return subscribers instanceof Set ? subscribers.size : [...subscribers].length;
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

const isConnectionRow: Check<ConnectionRow> = isShape<ConnectionRow>({
  connectionId: isText,
  nodeId: isText,
  user: orNull(isText),
  state: isOneOf('opening', 'open', 'draining', 'closed'),
  topics: isListOf(isText, MOST_ROW_TOPICS),
  topicCount: isNumber,
  openedAt: isNumber,
  ageMs: isNumber,
  waitingBytes: isNumber,
  cursor: orNull(isText),
  resumed: isFlag,
  reconnects: isNumber,
  lastOutcome: orNull(isOneOf('delivered', 'buffered', 'rejected')),
  streaming: isFlag,
  closeReason: orNull(isText),
});

export const isConnectionsPart: Check<ConnectionsPart> = isShape<ConnectionsPart>({
  total: isNumber,
  matching: isNumber,
  rows: isListOf(isConnectionRow),
});

export const isTopicsPart: Check<TopicsPart> = isShape<TopicsPart>({
  total: isNumber,
  rows: isListOf(isShape<TopicsPart['rows'][number]>({ topic: isText, subscribers: isNumber, rate: orNull(isNumber) })),
});

export const areSources: Check<readonly SourceRow[]> = isListOf(
  isShape<SourceRow>({
    key: isText,
    state: isOneOf('running', 'completed', 'failed', 'lost'),
    nodeId: orNull(isText),
    followers: isNumber,
    events: orNull(isNumber),
    startedAt: orNull(isNumber),
  }),
);
