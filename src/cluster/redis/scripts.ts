/**
 * The scripts of `lua/`: the keys and arguments of each, in the order of its header, and what its reply has after each
 * status. The types of requests and replies follow from here. What a script does and guarantees stands in its header.
 * Repeating a request is harmless where nothing else is said.
 */
import {
  bytes,
  flag,
  group,
  integer,
  lines,
  list,
  numbered,
  optional,
  ordinal,
  type ReplyOf,
  type RequestOf,
  rest,
  runId,
  script,
  text,
  word,
} from './script.js';

/** The three keys of a partition; a request names the whole partition. */
const partition = group({ leases: text, routes: text, index: text });
/** Channel of a node without its incarnation. */
const nodeChannel = group({ channelPrefix: text });
const pubCommand = word('PUBLISH', 'SPUBLISH');
/** The generation numbers a lease in its partition; the epoch names the partition's life. */
const lease = group({ gen: text, epoch: text });
const owned = group({ conn: text, tok: text });
const held = { lease, owned: integer, nowMicros: integer, full: flag, routes: integer };

/** Proves that a node lives, or opens its lease. `believed`: the lease as the last answer named it. */
export const leaseScript = script({
  name: 'lease',
  keys: { partition },
  args: { inc: text, believed: optional(lease), leaseMs: integer, keyMs: integer, schema: text, newEpoch: text },
  replies: { RENEWED: held, OPENED: held, SCHEMA: { stored: text }, UNREADABLE: { key: text } },
});

/** Makes a node the owner of connection ids. A registration with the same token may be repeated. */
export const registerScript = script({
  name: 'register',
  keys: { partition },
  restKeys: { tombstones: text, counters: text },
  args: {
    ...{ inc: text, gen: text, mode: word('take', 'load', 'nx', 'restore') },
    ...{ ttlMs: integer, leaseMs: integer, keyMs: integer, takeoverLimit: integer, takeoverWindow: integer },
    ...{ numsub: optional(word('NUMSUB', 'SHARDNUMSUB')), pubCommand, partition: nodeChannel },
  },
  restArgs: {
    registrations: group({
      ...{ conn: text, tok: text, user: optional(text) },
      // `fencingToken` in mode `restore`; `room`: routes that the partition may have; `limits`: as `formatLimit` writes them.
      more: lines({ fencingToken: optional(integer), room: optional(integer), limits: text, trace: optional(text) }),
    }),
  },
  replies: {
    OK: {
      now: integer,
      routes: integer,
      answers: list(
        group({
          result: word('NEW', 'TOOK', 'DUP', 'STALE', 'EXISTS', 'MOVED', 'STORM', 'GONE', 'FULL', 'OFTEN'),
          /** `FULL` and `OFTEN`: the number of the counter among those of the registration; 0: the routes of the partition. */
          fencingToken: integer,
          /** The present owner when the registration was refused, else the former one; '' when there is none. */
          ownerInc: text,
          ownerTok: text,
        }),
      ),
      /** Which of the answers each registration has. */
      numbers: rest(ordinal),
    },
    LOST: {},
  },
});

/** Counts connections for users and addresses whose counters are in another partition than their routes, or no more. */
export const countersScript = script({
  name: 'counters',
  keys: { leases: text },
  restKeys: { counters: text },
  args: { gen: text, mode: word('enter', 'renew', 'leave'), keyMs: integer },
  restArgs: { entries: group({ tok: text, limits: text }) },
  replies: { OK: { results: rest(word('DONE', 'FULL', 'OFTEN')) } },
});

/** Removes the routes that are still those of these registrations: one result for each, in their order. */
export const unregisterScript = script({
  name: 'unregister',
  keys: { partition },
  restKeys: { tombstones: text },
  args: { inc: text },
  restArgs: { registrations: group({ conn: text, tok: text, tombstoneMs: integer }) },
  replies: { OK: { results: rest(word('REMOVED', 'NONE', 'FOREIGN')) } },
});

/** Renews, or compares, routes of a node: one state for each connection, in their order. */
export const refreshScript = script({
  name: 'refresh',
  keys: { partition },
  args: { inc: text, gen: text, ttlMs: integer, leaseMs: integer, keyMs: integer },
  restArgs: { connections: owned },
  replies: {
    OK: { now: integer, states: rest(numbered('mine', 'missing', 'foreign', 'other-token')) },
    LOST: {},
    LIMIT: {},
  },
});

/** Lists what a lease owns, a page at a time; the token is '' where only the index knows the connection. */
export const ownedScript = script({
  name: 'owned',
  keys: { partition: group({ routes: text, index: text }) },
  args: { gen: text, offset: integer, limit: integer },
  replies: { OK: { owned: integer, all: integer, indexed: integer, connections: rest(owned) } },
});

const reaped = { inc: text, gen: text, removed: rest(owned) };
/** Removes the routes of a dead node, or of one that leaves. A lost reply loses its list, nothing else. */
export const reapScript = script({
  name: 'reap',
  keys: { partition },
  args: { limit: integer, overBy: integer, self: optional(text) },
  replies: { DONE: reaped, MORE: reaped, NONE: {} },
});

/** Removes routes that ran out, one chunk at a time; all nodes share one round. */
export const expireScript = script({
  name: 'expire',
  keys: { partition },
  args: { count: integer },
  replies: { WRAPPED: { removed: rest(text) }, MORE: { removed: rest(text) } },
});

/** Compares routes of all nodes, chosen at random, with index and leases, and repairs what differs. */
export const reconcileScript = script({
  name: 'reconcile',
  keys: { partition },
  args: { count: integer, repairs: integer, graceMs: integer },
  replies: {
    OK: {
      compared: integer,
      differences: rest(
        group({
          kind: word('orphan', 'index', 'half-lease', 'dead-lease'),
          /** A connection id; an incarnation where a lease differs; the field of a lease that cannot be read. */
          name: text,
          repaired: flag,
        }),
      ),
    },
  },
});

const route = { inc: text, tok: text, fencingToken: integer };
const dispatch = word('ROUTED', 'FORMER', 'NONE', 'PARTIAL');
const dispatched = group({ status: dispatch, inc: text, tok: text, receivers: integer });
/** Publishes messages to the owners of connection ids. Each repetition publishes: the owner must know the message id. */
export const sendScript = script({
  name: 'send',
  keys: { partition: group({ leases: text, routes: text }) },
  restKeys: { marks: text },
  args: { epoch: text, counts: flag, pubCommand, partition: nodeChannel, named: text },
  restArgs: { messages: group({ conn: text, payload: bytes }) },
  replies: { OK: { outcomes: list(dispatched), numbers: rest(ordinal) } },
});

const resolved = { routes: rest(optional(group({ ...route, user: text }))) };
/** Names the owners of connection ids: one for each, in their order, `undefined` without a route. */
export const resolveScript = script({
  name: 'resolve',
  keys: { partition: group({ leases: text, routes: text }) },
  args: { epoch: text },
  restArgs: { conns: text },
  replies: { OK: resolved, PARTIAL: resolved, LIMIT: {} },
});

/** Takes, keeps, gives up or reads a lock. */
export const lockScript = script({
  name: 'lock',
  keys: { lock: text },
  args: { holder: text, ms: integer },
  replies: { HELD: { holder: text }, FREE: {} },
});

/** Counts the routes of live leases; exact, in one partition. */
export const countScript = script({
  name: 'count',
  keys: { partition: group({ leases: text, index: text }) },
  args: { graceMs: integer },
  replies: { OK: { live: integer, total: integer, nodes: rest(group({ inc: text, routes: integer })) } },
});

const topic = group({ stream: text, last: text });
const published = { id: text, previous: text, epoch: text };

/** Appends to the ordered log and publishes. Repeatable only with an idempotency key. */
export const publishScript = script({
  name: 'publish',
  keys: { meta: text, topic, idempotency: text },
  args: {
    payload: bytes,
    ...{ maxEntries: integer, maxAgeMs: integer, streamMs: integer, metaMs: integer },
    newEpoch: text,
    runId,
    failoverJumpMs: integer,
    pubCommand,
    channel: text,
    idempotencyMs: integer,
    evicts: flag,
  },
  replies: { NEW: published, KEPT: published, KNOWN: published },
  repeatable: ({ idempotencyMs }) => idempotencyMs > 0,
});

/** Publishes an event that is not kept, once for each key. */
export const publishUnkeptScript = script({
  name: 'publish-unkept',
  keys: { mark: text },
  args: { frame: bytes, pubCommand, channel: text, ms: integer },
  replies: { NEW: {}, KNOWN: {} },
});

/** Reads where the ordered log stands, and the last ids of topics: one for each, in their order. */
export const lookScript = script({
  name: 'look',
  keys: { meta: text, forgets: text },
  restKeys: { last: text },
  args: { metaMs: integer, newEpoch: text, runId, failoverJumpMs: integer, evicts: flag },
  replies: {
    OK: {
      now: integer,
      epoch: text,
      /** Run id of the log's last writer; '' unknown. */
      run: text,
      head: text,
      /** Stands for a last id that is forgotten. */
      forgotten: text,
      lasts: list(optional(text)),
    },
    LIMIT: {},
  },
});

/** Reads entries of topics, of each after a position of its own. A topic of the reply is its position in the request. */
export const historyScript = script({
  name: 'history',
  keys: { meta: text },
  restKeys: { topics: topic },
  args: { epoch: text, limit: integer, bytes: integer },
  restArgs: { after: group({ ms: integer, sequence: integer }) },
  replies: {
    OK: {
      /** How many topics were read, the first ones of the request. */
      read: integer,
      /** Topics with entries missing after their position: nothing after `until` is missing; `undefined`: it is forgotten. */
      gaps: list(group({ topic: ordinal, until: optional(text) })),
      more: list(ordinal),
      /** Topic by topic, each in the order of ids. */
      entries: list(group({ topic: ordinal, id: text, previous: text, payload: bytes })),
    },
    EPOCH: {},
    LIMIT: {},
  },
});

/** Reads the newest entries of topics, all together. A topic of the reply is its position in the request. */
export const backlogScript = script({
  name: 'backlog',
  keys: { meta: text },
  restKeys: { stream: text },
  args: { epoch: text, newest: text, after: text, limit: integer, each: integer, bytes: integer },
  replies: {
    /** Newest first. */
    OK: { entries: list(group({ topic: ordinal, id: text, payload: bytes })) },
    EPOCH: {},
    LIMIT: {},
  },
});

/** Remembers what a connection id follows, or follows no more. */
export const rememberScript = script({
  name: 'remember',
  keys: { meta: text, followed: text },
  args: { topic: text, change: word('add', 'keep', 'drop'), limit: integer, ms: integer },
  replies: { OK: {}, FULL: {} },
});

/** Reads what is remembered of connection ids: the topics of each, in their order, and remembers it longer. */
export const recallScript = script({
  name: 'recall',
  keys: {},
  restKeys: { followed: text },
  args: { ms: integer },
  replies: { OK: { remembered: rest(list(group({ topic: text, state: text }))) }, LIMIT: {} },
});

/** Deletes the entries of a topic of the ordered log. */
export const forgetScript = script({ name: 'forget', keys: { stream: text }, args: {}, replies: { OK: {} } });

/** Counts the entries of a topic of the ordered log. */
export const keptScript = script({
  name: 'kept',
  keys: { stream: text },
  args: {},
  replies: { OK: { entries: integer } },
});

/** Keeps a mark of a revocation. */
export const revokeScript = script({
  name: 'revoke',
  keys: { marks: text },
  args: { mark: bytes, most: integer, ms: integer },
  replies: { OK: {} },
});

/** Reads the marks of revocations after a position. */
export const revocationsScript = script({
  name: 'revocations',
  keys: { marks: text },
  args: { after: text, limit: integer },
  replies: { OK: { now: integer, marks: rest(group({ id: text, mark: bytes })) } },
});

/** Names the keys that have another type. */
export const unreadableScript = script({
  name: 'unreadable',
  keys: {},
  restKeys: { key: text },
  args: {},
  restArgs: { type: word('hash', 'stream', 'string') },
  replies: { OK: { unreadable: rest(text) }, LIMIT: {} },
});

/** Names the commands that the user of the connection may not run. */
export const accessScript = script({
  name: 'access',
  keys: { key: text },
  args: { channel: text },
  restArgs: { permissions: text },
  replies: { OK: { refused: rest(text) }, UNKNOWN: {} },
});

/** Every script of `lua/`. */
export const SCRIPTS = [
  accessScript,
  unreadableScript,
  leaseScript,
  registerScript,
  countersScript,
  unregisterScript,
  refreshScript,
  ownedScript,
  reapScript,
  expireScript,
  reconcileScript,
  sendScript,
  resolveScript,
  lockScript,
  countScript,
  publishScript,
  publishUnkeptScript,
  lookScript,
  historyScript,
  backlogScript,
  rememberScript,
  recallScript,
  forgetScript,
  keptScript,
  revokeScript,
  revocationsScript,
] as const;

/** A lease as its node knows it. */
export type Lease = NonNullable<RequestOf<typeof leaseScript>['believed']>;
export type LeaseReply = ReplyOf<typeof leaseScript>;
export type RegisterRequest = RequestOf<typeof registerScript>;
/** The answer to one registration. */
export type RegisterAnswer = Extract<ReplyOf<typeof registerScript>, { status: 'OK' }>['answers'][number];
/** How a route compares with what its node thinks. */
export type RouteState = Extract<ReplyOf<typeof refreshScript>, { status: 'OK' }>['states'][number];
/** A route as Redis knows it. */
export type ResolvedRoute = NonNullable<Extract<ReplyOf<typeof resolveScript>, { status: 'OK' }>['routes'][number]>;
export type SendAnswer = ReplyOf<typeof sendScript>['outcomes'][number];
export type PublishRequest = RequestOf<typeof publishScript>;
export type PublishReply = ReplyOf<typeof publishScript>;
export type HistoryRequest = RequestOf<typeof historyScript>;
export type HistoryReply = ReplyOf<typeof historyScript>;
export type LookRequest = RequestOf<typeof lookScript>;
export type LookReply = ReplyOf<typeof lookScript>;
