import type { Cluster, Redis } from 'ioredis';
import type { ScriptValue } from './script.js';

/** A script done with plain commands: the same KEYS and ARGV, the same reply. */
export type PlainCommand = (
  client: Redis | Cluster,
  keys: readonly string[],
  args: readonly string[],
) => Promise<readonly unknown[]>;

/** Which operations are one script each; see the settings of the same names. */
interface Atomicity {
  readonly redisAtomicEnabled: boolean;
  readonly connectionRegistrationAtomic: boolean;
  readonly connectionUnregistrationAtomic: boolean;
  readonly expiredConnectionCleanupAtomic: boolean;
}

/** The scripts that are to be done with plain commands, by name. */
export function plainCommands(atomicity: Atomicity): ReadonlyMap<string, PlainCommand> {
  const { redisAtomicEnabled: any } = atomicity;
  const plain = new Map<string, PlainCommand>();
  if (!any || !atomicity.connectionRegistrationAtomic) plain.set('register', plainRegister);
  if (!any || !atomicity.connectionUnregistrationAtomic) plain.set('unregister', plainUnregister);
  if (!any || !atomicity.expiredConnectionCleanupAtomic) plain.set('reap', plainReap);
  return plain;
}

const MOST = 500;
const KEPT_PREVS = 3;

/**
 * What `lua/register.lua` does for one registration, read first and then written, with the same KEYS, ARGV and replies.
 * Between the two another node may do the same: then both believe to be owner, and the later write wins. It has no counters: those of
 * users and addresses are another call.
 */
async function plainRegister(
  client: Redis | Cluster,
  [leases = '', routes = '', index = '', tombstone = '']: readonly string[],
  args: readonly string[],
): Promise<readonly unknown[]> {
  const [inc = '', gen = '', mode = ''] = args;
  const [ttlMs = 0, leaseMs = 0, keyMs = 0, limit = 0, window = 0] = args.slice(3, 8).map(Number);
  const [numsub = '', pubCommand = '', channelPrefix = ''] = args.slice(8);
  const [conn = '', tok = '', user = '', more = ''] = args.slice(11);
  const [ownToken = '', room = '', , trace = ''] = more.split('\n');
  const [time, held, given, text, present] = await batch(client, [
    ['TIME'],
    ['HGET', leases, `i:${inc}`],
    ['EXISTS', tombstone],
    ['HGET', routes, conn],
    ['ZCARD', index],
  ]);
  const { now, micros } = clockOf(time);
  if (held !== gen) return ['LOST'];
  if (given === 1) return ['OK', now, present, ['GONE', 0, '', ''], 1];
  const old = parseRoute(text);
  const isFull = room !== '' && mode !== 'restore' && text === null && Number(present) >= Number(room);
  if (isFull) return ['OK', now, present, ['FULL', 0, '', ''], 1];
  const [own, others] = await batch(client, [
    ['HGET', leases, `g:${gen}`],
    ['HGET', leases, `g:${old?.gen ?? gen}`],
  ]);
  const lease = parseLease(others);
  const isHeard =
    lease === undefined || lease.inc === inc || (await hears(client, leases, numsub, channelPrefix + lease.inc));
  const token = ownToken === '' ? micros : Number(ownToken);
  const registering = { inc, gen, tok, mode, limit, window, now, token, isHeard };
  const { result, fencingToken, owner, formerTok, past } = judge(old, lease, registering);
  if (past !== undefined) {
    const writes: Command[] = [
      ['HSET', routes, conn, formatRoute({ ...past, gen, tok, user, fencingToken, exp: now + ttlMs })],
    ];
    if (result !== 'DUP')
      writes.push(['ZADD', index, gen, conn], ['PEXPIRE', routes, keyMs], ['PEXPIRE', index, keyMs]);
    const isLeaseYoung = (parseLease(own)?.until ?? 0) >= now + leaseMs / 2;
    if (!isLeaseYoung) writes.push(['HSET', leases, `g:${gen}`, `${now + leaseMs}|${inc}`]);
    const notice = {
      v: 1,
      t: 'superseded',
      c: conn,
      k: formerTok,
      f: String(fencingToken),
      ...(trace && { x: trace }),
    };
    if (owner !== '') writes.push([pubCommand, channelPrefix + owner, JSON.stringify(notice)]);
    await batch(client, writes);
  }
  const isAdded = past !== undefined && text === null;
  return ['OK', now, Number(present) + Number(isAdded), [result, fencingToken, owner, formerTok], 1];
}

/** What decides about a registration, as ARGV and the clock name it. */
interface Registering {
  readonly inc: string;
  readonly gen: string;
  readonly tok: string;
  readonly mode: string;
  readonly limit: number;
  readonly window: number;
  readonly now: number;
  /** Its own fencing token, or the lowest one of a new route. */
  readonly token: number;
  /** Whether the node that owns the route hears of a takeover, which counts then. */
  readonly isHeard: boolean;
}

/** What becomes of a registration. */
interface Verdict {
  readonly result: string;
  readonly fencingToken: number;
  /** The owner of another registration's route, which refuses this one or is replaced by it; '' without one. */
  readonly owner: string;
  readonly formerTok: string;
  /** What the route remembers; `undefined` when nothing is written. */
  readonly past?: Pick<RouteText, 'prevs' | 'takeovers'>;
}

/** @param lease the lease that `old` names */
function judge(old: RouteText | undefined, lease: LeaseText | undefined, registering: Registering): Verdict {
  const { inc, gen, tok, mode, limit, window, now, token, isHeard } = registering;
  const none = { owner: '', formerTok: '' };
  if (old === undefined) return { result: 'NEW', fencingToken: token, ...none, past: { prevs: [], takeovers: [] } };
  const recent = old.takeovers.filter(at => now - Number(at.replace(PAGE_LOAD, '')) < window);
  const next = Math.max(token, old.fencingToken + 1);
  if (lease?.inc === inc && old.tok === tok) {
    if (old.gen === gen) return { result: 'DUP', fencingToken: old.fencingToken, ...none, past: old };
    return { result: 'NEW', fencingToken: next, ...none, past: { prevs: old.prevs, takeovers: recent } };
  }
  const owner = lease?.inc ?? '';
  const former = { owner, formerTok: old.tok };
  const refused = (result: string): Verdict => ({ result, fencingToken: old.fencingToken, ...former });
  const isNewer = mode === 'restore' && token > old.fencingToken;
  if (!isNewer && old.prevs.includes(`${inc}/${tok}`)) return refused('STALE');
  const isLive = (lease?.until ?? 0) > now && old.exp > now;
  if (isLive && mode === 'nx') return refused('EXISTS');
  if (isLive && mode === 'restore' && !isNewer) return refused('MOVED');
  const isTakeover = isLive && isHeard && (mode === 'take' || mode === 'load');
  const mark = mode === 'load' ? PAGE_LOAD : '';
  const counted = recent.filter(at => at.startsWith(PAGE_LOAD) === (mark === PAGE_LOAD)).length;
  if (isTakeover && counted >= Math.min(limit, MOST)) return refused('STORM');
  const past = {
    prevs: [`${owner === '' ? '?' : owner}/${old.tok}`, ...old.prevs].slice(0, KEPT_PREVS),
    takeovers: isTakeover ? [...recent, `${mark}${now}`] : recent,
  };
  return { result: isLive ? 'TOOK' : 'NEW', fencingToken: next, ...former, past };
}

/**
 * Whether a channel has a subscriber, as the master that has the key `near` counts. It is taken for granted where Redis does not
 * know all, and where the account may not ask.
 */
async function hears(client: Redis | Cluster, near: string, numsub: ScriptValue, channel: string): Promise<boolean> {
  if (numsub === '') return true;
  const pipeline = client.pipeline();
  pipeline.call('EXISTS', near);
  pipeline.call('PUBSUB', numsub, channel);
  const [, answer] = (await pipeline.exec()) ?? [];
  const [, subscribers] = answer ?? [];
  return !(Array.isArray(subscribers) && subscribers[1] === 0);
}

/**
 * What `lua/unregister.lua` does for one registration, read first and then written, with the same KEYS, ARGV and replies.
 * A registration that comes between the two is removed with the route that it replaced, until the next comparison restores
 * it.
 */
async function plainUnregister(
  client: Redis | Cluster,
  [leases = '', routes = '', index = '', tombstone = '']: readonly string[],
  [inc = '', conn = '', tok = '', tombstoneMs = '0']: readonly string[],
): Promise<readonly unknown[]> {
  const mark: Command[] = tombstoneMs === '0' ? [] : [['SET', tombstone, '1', 'PX', tombstoneMs]];
  const answers = await batch(client, [...mark, ['HGET', routes, conn]]);
  const route = parseRoute(answers.at(-1));
  if (route === undefined) {
    await batch(client, [['ZREM', index, conn]]);
    return ['OK', 'NONE'];
  }
  const [lease] = await batch(client, [['HGET', leases, `g:${route.gen}`]]);
  if (route.tok !== tok || parseLease(lease)?.inc !== inc) return ['OK', 'FOREIGN'];
  await batch(client, [
    ['HDEL', routes, conn],
    ['ZREM', index, conn],
  ]);
  return ['OK', 'REMOVED'];
}

const MOST_ROUTES = 500;

/**
 * What `lua/reap.lua` does, read first and then written, with the same KEYS, ARGV and replies. Two nodes at once may return
 * the same routes, and a node that comes back to life in between loses routes until it compares them.
 */
async function plainReap(
  client: Redis | Cluster,
  [leases = '', routes = '', index = '']: readonly string[],
  [limitText = '', overBy = '', self = '']: readonly string[],
): Promise<readonly unknown[]> {
  const limit = Math.min(Number(limitText), MOST_ROUTES);
  const [time, fields] = await batch(client, [['TIME'], ['HGETALL', leases]]);
  const { now } = clockOf(time);
  const found = leaseToReap(pairsOf(fields), Math.min(Number(overBy), now), self);
  if (found === undefined) return ['NONE'];
  const { inc, gen, current } = found;

  const [listed] = await batch(client, [
    ['ZRANGEBYSCORE', index, gen, gen, 'LIMIT', 0, limit],
    // From here on every write of the dead node is refused; a release keeps its lease until the last batch.
    ...(self === '' && current ? [['HDEL', leases, `i:${inc}`] as const] : []),
  ]);
  const conns = listed as string[];
  const removed: unknown[] = [];
  const writes: Command[] = [];
  if (conns.length > 0) {
    const [texts] = await batch(client, [['HMGET', routes, ...conns]]);
    for (const [at, conn] of conns.entries()) {
      removed.push(conn, parseRoute((texts as unknown[])[at])?.tok ?? '');
    }
    writes.push(['HDEL', routes, ...conns], ['ZREM', index, ...conns]);
  }
  const done = conns.length < limit;
  if (done) {
    writes.push(['HDEL', leases, `g:${gen}`]);
    if (self !== '') writes.push(['HDEL', leases, `i:${inc}`]);
  }
  await batch(client, writes);
  return [done ? 'DONE' : 'MORE', inc, gen, ...removed];
}

function leaseToReap(
  fields: ReadonlyMap<string, string>,
  before: number,
  self: string,
): { readonly inc: string; readonly gen: string; readonly current: boolean } | undefined {
  if (self !== '') {
    const gen = fields.get(`i:${self}`);
    return gen === undefined ? undefined : { inc: self, gen, current: true };
  }
  for (const [field, value] of fields) {
    const lease = field.startsWith('g:') ? parseLease(value) : undefined;
    if (lease === undefined || lease.until > before) continue;
    const gen = field.slice('g:'.length);
    return { inc: lease.inc, gen, current: fields.get(`i:${lease.inc}`) === gen };
  }
  return undefined;
}

/** The answer to HGETALL sent as a bare command is a flat list, or a map in newer protocols. */
function pairsOf(answer: unknown): ReadonlyMap<string, string> {
  if (!Array.isArray(answer)) return new Map(Object.entries(answer as Record<string, string>));
  const fields = answer as string[];
  const pairs = new Map<string, string>();
  for (let at = 0; at < fields.length; at += 2) pairs.set(fields[at] ?? '', fields[at + 1] ?? '');
  return pairs;
}

/** A route as Redis holds it; see `lua/_common.lua`, whose format this is. */
interface RouteText {
  readonly gen: string;
  readonly tok: string;
  readonly fencingToken: number;
  /** Milliseconds of Redis' clock. */
  readonly exp: number;
  /** Superseded registrations as `<inc>/<tok>`, newest first. */
  readonly prevs: readonly string[];
  /** When it was taken over lately, in milliseconds; with {@link PAGE_LOAD} in front by a page load. */
  readonly takeovers: readonly string[];
  /** '' when there is none. */
  readonly user: string;
}

/** Begins the time of a takeover by a client without a last id. */
const PAGE_LOAD = 'l';

/** A lease of a node. */
interface LeaseText {
  /** Milliseconds of Redis' clock. */
  readonly until: number;
  readonly inc: string;
}

const ROUTE = /^(\d+)\|([^|]*)\|(\d+)\|(\d+)\|?([^|]*)\|?([^|]*)\|?(.*)$/s;
const LEASE = /^(\d+)\|(.*)$/s;

/** Redis' clock in milliseconds and in microseconds, from the answer to TIME. */
function clockOf(time: unknown): { readonly now: number; readonly micros: number } {
  const [seconds = 0, micros = 0] = (time as readonly string[]).map(Number);
  return { now: seconds * 1_000 + Math.floor(micros / 1_000), micros: seconds * 1_000_000 + micros };
}

/** `undefined` for what is no route. */
function parseRoute(text: unknown): RouteText | undefined {
  const match = typeof text === 'string' ? ROUTE.exec(text) : null;
  if (match === null) return undefined;
  const [, gen = '', tok = '', fencingToken = '', exp = '', prevs = '', takeovers = '', user = ''] = match;
  return {
    gen,
    tok,
    fencingToken: Number(fencingToken),
    exp: Number(exp),
    prevs: listOf(prevs),
    takeovers: listOf(takeovers),
    user,
  };
}

function formatRoute({ gen, tok, fencingToken, exp, prevs, takeovers, user }: RouteText): string {
  const route = `${gen}|${tok}|${fencingToken}|${exp}`;
  if (prevs.length === 0 && user === '') return route;
  const past = `${route}|${prevs.join(',')}|${takeovers.join(',')}`;
  return user === '' ? past : `${past}|${user}`;
}

/** `undefined` for what is no lease. */
function parseLease(text: unknown): LeaseText | undefined {
  const match = typeof text === 'string' ? LEASE.exec(text) : null;
  return match === null ? undefined : { until: Number(match[1]), inc: match[2] ?? '' };
}

function listOf(text: string): string[] {
  return text === '' ? [] : text.split(',');
}

/** A command and its arguments. */
type Command = readonly [name: string, ...args: ScriptValue[]];

/** Sends commands together and resolves with their answers; the first that fails is the failure of all. */
async function batch(client: Redis | Cluster, commands: readonly Command[]): Promise<unknown[]> {
  const pipeline = client.pipeline();
  for (const [name, ...args] of commands) pipeline.call(name, ...args);
  const answers = (await pipeline.exec()) ?? [];
  return answers.map(([error, answer]) => {
    if (error !== null) throw error;
    return answer;
  });
}
