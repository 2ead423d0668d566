import type { ParsedUrlQuery } from 'node:querystring';
import { setTimeout as delay } from 'node:timers/promises';
import type { SseEvent } from '../contracts/events.js';
import { SseError } from '../errors.js';
import { shownValue } from '../options/problems.js';
import { withTimeout } from '../time.js';
import { isActivityPart, isSortKey, MOST_ROWS } from './answers.js';
import type {
  ActivityAnswer,
  ClusterAnswer,
  ConnectionsAnswer,
  LogAnswer,
  NodesAnswer,
  SourceRow,
  SourcesAnswer,
  TopicRow,
  TopicsAnswer,
} from './contract.js';
import { nodesAnswer } from './live.js';
import { readLog } from './log-view.js';
import { isReading } from './reading.js';
import {
  areSources,
  compareKeys,
  type ConnectionsQuery,
  isConnectionsPart,
  isTopicsPart,
  type SortKey,
  sortKeyOf,
  SORTS,
  STATES,
  TOPIC_SORTS,
  topicOrder,
} from './rows.js';
import type { Answers, Station } from './station.js';

const DEFAULT_ROWS = 50;
const DEFAULT_TOPICS = 100;
const MOST_ACTIVITY = 1_000;
/** Topics of which the log is asked how many entries it keeps, and the milliseconds that its answer may take. */
const MOST_KEPT = 50;
const KEPT_MS = 1_000;
/** The bounds of the pause between two events of a stream, in milliseconds. */
export const EVERY = { least: 500, most: 60_000 } as const;
const DEFAULT_EVERY_MS = 2_000;

/** The resources that can be followed as a stream. */
export const RESOURCES = ['nodes', 'connections', 'topics', 'sources', 'activity'] as const;
export type ResourceName = (typeof RESOURCES)[number];

/** Reads the resources of the whole cluster. Each method throws `INVALID_REQUEST` for a wrong parameter. */
export class Resources {
  constructor(private readonly station: Station) {}

  /** Reads a resource once. */
  read(name: ResourceName, query: Query): Promise<ClusterAnswer> {
    switch (name) {
      case 'nodes':
        return this.#nodes();
      case 'connections':
        return this.#connections(query);
      case 'topics':
        return this.#topics(query);
      case 'sources':
        return this.#sources(query);
      case 'activity':
        return this.#activity();
    }
  }

  /** Reads a resource again and again. @throws SseError `INVALID_REQUEST`, before the stream begins */
  async follow(name: ResourceName, query: Query): Promise<(signal: AbortSignal) => AsyncGenerator<SseEvent>> {
    const every = query.whole('every', EVERY.least, EVERY.most, DEFAULT_EVERY_MS);
    const first = await this.read(name, query);
    return signal => this.#readings(name, query, every, first, signal);
  }

  async *#readings(
    name: ResourceName,
    query: Query,
    every: number,
    first: ClusterAnswer,
    signal: AbortSignal,
  ): AsyncGenerator<SseEvent> {
    yield { event: name, data: first };
    for (;;) {
      // Ends early when the viewer leaves.
      await delay(every, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      yield { event: name, data: await this.read(name, query) };
    }
  }

  /** What a client at an id would get. */
  async log(query: Query): Promise<LogAnswer> {
    const named = query.text('topics', 16 * 1024)?.split(',') ?? [];
    return readLog(this.station.node, {
      topics: named.map(decoded),
      after: query.text('after'),
      broadcasts: query.oneOf('broadcasts', ['0', '1']) === '1',
      limit: query.whole('limit', 1, MOST_ROWS, DEFAULT_ROWS),
    });
  }

  async #nodes(): Promise<NodesAnswer> {
    const { live, parts, ...rest } = await this.station.ask({ kind: 'nodes' }, isReading);
    return nodesAnswer(live, parts, rest);
  }

  async #connections(query: Query): Promise<ConnectionsAnswer> {
    const limit = query.whole('limit', 1, MOST_ROWS, DEFAULT_ROWS);
    const asked: ConnectionsQuery = {
      search: query.text('search') ?? '',
      user: query.text('user') ?? null,
      topic: query.text('topic') ?? null,
      state: query.oneOf('state', STATES) ?? null,
      sort: query.oneOf('sort', SORTS) ?? 'id',
      limit,
      after: afterOf(query),
    };
    const question = { kind: 'connections', query: asked } as const;
    const answers = await this.station.ask(question, isConnectionsPart, query.text('node') ?? '');
    const all = [...answers.parts.values()];
    const rows = all.flatMap(part => part.rows).sort((a, b) => compareKeys(sortKeyOf(a, asked), sortKeyOf(b, asked)));
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    return {
      ...outline(answers),
      total: sum(all.map(({ total }) => total)),
      matching: sum(all.map(({ matching }) => matching)),
      rows: page,
      next: last === undefined || rows.length === page.length ? null : tokenOf(sortKeyOf(last, asked)),
    };
  }

  async #topics(query: Query): Promise<TopicsAnswer> {
    const search = query.text('search') ?? '';
    const sort = query.oneOf('sort', TOPIC_SORTS) ?? 'subscribers';
    const limit = query.whole('limit', 1, MOST_ROWS, DEFAULT_TOPICS);
    const answers = await this.station.ask({ kind: 'topics', search, sort, limit: MOST_ROWS }, isTopicsPart);
    const topics = new Map<string, TopicRow>();
    for (const part of answers.parts.values()) {
      for (const { topic, subscribers, rate } of part.rows) {
        const known = topics.get(topic);
        topics.set(topic, {
          topic,
          subscribers: subscribers + (known?.subscribers ?? 0),
          nodes: 1 + (known?.nodes ?? 0),
          // Every node with a subscriber gets each publication.
          rate: known?.rate == null ? rate : Math.max(known.rate, rate ?? 0),
          kept: null,
        });
      }
    }
    const rows = await this.#withKept([...topics.values()].sort(topicOrder(sort)).slice(0, limit));
    const total = Math.max(0, ...[...answers.parts.values()].map(part => part.total));
    return { ...outline(answers), total, rows };
  }

  /** Asks the log how many entries it keeps of the first topics. */
  #withKept(rows: readonly TopicRow[]): Promise<TopicRow[]> {
    const { log } = this.station.node.cluster;
    const keptOf = (topic: string): Promise<number | null> =>
      withTimeout(log.kept(topic), KEPT_MS, () => null).catch(() => null);
    return Promise.all(
      rows.map(async (row, index) => (index < MOST_KEPT ? { ...row, kept: await keptOf(row.topic) } : row)),
    );
  }

  async #sources(query: Query): Promise<SourcesAnswer> {
    const search = query.text('search') ?? '';
    const limit = query.whole('limit', 1, MOST_ROWS, DEFAULT_TOPICS);
    const answers = await this.station.ask({ kind: 'sources', search }, areSources);
    const rows = new Map<string, SourceRow>();
    for (const part of answers.parts.values()) {
      for (const row of part) rows.set(row.key, joinedSource(rows.get(row.key), row));
    }
    const order = (a: SourceRow, b: SourceRow): number =>
      Number(b.state === 'running') - Number(a.state === 'running') || (b.startedAt ?? 0) - (a.startedAt ?? 0);
    return { ...outline(answers), rows: [...rows.values()].sort(order).slice(0, limit) };
  }

  async #activity(): Promise<ActivityAnswer> {
    const answers = await this.station.ask({ kind: 'activity' }, isActivityPart);
    const all = [...answers.parts.values()];
    const newestLast = (a: { readonly at: number }, b: { readonly at: number }): number => a.at - b.at;
    return {
      ...outline(answers),
      recording: all.some(({ recording }) => recording),
      happenings: all
        .flatMap(({ happenings }) => happenings)
        .sort(newestLast)
        .slice(-MOST_ACTIVITY),
      sends: all
        .flatMap(({ sends }) => sends)
        .sort(newestLast)
        .slice(-MOST_ACTIVITY),
    };
  }
}

function outline({ at, missing, cutOff }: Answers<unknown>): ClusterAnswer {
  return { at, missing, cutOff };
}

/** What two nodes know of one source. The node that runs it, or ran it, knows most. */
function joinedSource(known: SourceRow | undefined, row: SourceRow): SourceRow {
  if (known === undefined) return row;
  const weight = ({ nodeId, state, events }: SourceRow): number =>
    Number(nodeId !== null) * 4 + Number(state !== 'running') * 2 + Number(events !== null);
  const best = weight(row) > weight(known) ? row : known;
  return { ...best, followers: known.followers + row.followers };
}

function afterOf(query: Query): SortKey | null {
  const token = query.text('after', 2_048);
  if (token === undefined) return null;
  try {
    const key: unknown = JSON.parse(Buffer.from(token, 'base64url').toString());
    if (isSortKey(key)) return key;
  } catch {
    // Answered below.
  }
  throw new SseError('INVALID_REQUEST', 'the parameter after must be the `next` of a page; leave it out for the first');
}

function tokenOf(key: SortKey): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

/** A name with its percent-encoding, which `,` needs. @throws SseError `INVALID_REQUEST` */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    throw new SseError('INVALID_REQUEST', 'a name in the parameter topics has broken percent-encoding');
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

/** Characters of a parameter. */
const LONGEST = 1_024;

/** The query of a request, read with rules. Every method throws `INVALID_REQUEST` for a value that breaks its rule. */
export class Query {
  constructor(private readonly parameters: ParsedUrlQuery) {}

  /** The last value; `undefined` for none, and for an empty one. */
  text(name: string, most = LONGEST): string | undefined {
    const value = this.parameters[name];
    const text = Array.isArray(value) ? value.at(-1) : value;
    if (text === undefined || text === '') return undefined;
    if (text.length > most) throw invalid(name, `at most ${most} characters`, text);
    return text;
  }

  oneOf<const T extends string>(name: string, values: readonly T[]): T | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const found = values.find(value => value === text);
    if (found === undefined) throw invalid(name, `one of ${values.join(', ')}`, text);
    return found;
  }

  whole(name: string, least: number, most: number, otherwise: number): number {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    const number = Number(text);
    if (!Number.isInteger(number) || number < least || number > most) {
      throw invalid(name, `a whole number from ${least} to ${most}`, text);
    }
    return number;
  }
}

function invalid(name: string, rule: string, value: string): SseError {
  return new SseError('INVALID_REQUEST', `the parameter ${name} must be ${rule}, got ${shownValue(value)}`);
}
