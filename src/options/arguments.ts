import { constants } from 'node:os';
import type { RevocationOptions } from '../contracts/authorization.js';
import type { Backlog } from '../contracts/cluster.js';
import type {
  ClusterSendOptions,
  ConnectionFilter,
  ConnectionOptions,
  DrainOptions,
  PublishOptions,
} from '../contracts/service.js';
import { SseError } from '../errors.js';
import { flag, type Kind, listOf, milliseconds, millisecondsWithin, oneOf, simple } from './kinds.js';
import { assertKnownKeys, OptionProblems, type OptionsErrorCode, shownValue } from './problems.js';
import { SETTINGS } from './settings.js';

/** The options of a method with their kinds. `checked`: the method refuses wrong values itself, with a code of its own. */
type Rules<Options> = { readonly [Name in keyof Options]-?: Kind<unknown> | 'checked' };

const MAX_BACKLOG = 1_000;
/** The longest life of a ticket. */
export const MAX_TICKET_MS = 300_000;
/** The longest `ttl` of a revocation: a week. */
export const LONGEST_REVOCATION_MS = 604_800_000;
/** Milliseconds from the admission of a client until a node has its connection: longer than guards and handlers take. */
export const ADMISSION_MS = 120_000;

const TEXT = simple('text', (value): value is string => typeof value === 'string');
const isFunction = (value: unknown): value is () => unknown => typeof value === 'function';

const SEND: Rules<ClusterSendOptions> = {
  id: 'checked',
  retry: 'checked',
  messageId: 'checked',
  ack: oneOf('owner', 'none', 'client'),
  deadline: SETTINGS.send.deadline.kind,
  durable: flag,
};
const PUBLISH: Rules<PublishOptions> = {
  retry: 'checked',
  history: simple('false, or undefined for what the settings say', (value): value is false => value === false),
  idempotencyKey: 'checked',
};
/** The values of `backlog`, of the time at which a connection ends, and of the topics that it may follow. */
export const BACKLOG = simple("a number of entries from 1 to 1000, or 'latest'", isBacklog);
export const EXPIRY = simple('a Date with a time', isTime);
export const TOPICS = listOf('a list of topics', (item): item is string => typeof item === 'string');

const CONNECTION: Rules<ConnectionOptions> = {
  topics: TOPICS,
  user: 'checked',
  expiresAt: EXPIRY,
  admittedAt: simple('a time by performance.now()', (value): value is number => Number.isFinite(value)),
  allowedTopics: TOPICS,
  address: TEXT,
  lastEventId: TEXT,
  backlog: BACKLOG,
  onDuplicate: SETTINGS.connection.onDuplicate.kind,
  ids: oneOf('application'),
  confirms: flag,
  source: simple('an object { key, start } with a function start', isSource),
  beforeOpen: simple('a function', isFunction),
  onReset: simple('a function', isFunction),
};
const REVOKE: Rules<RevocationOptions> = {
  reason: 'checked',
  cut: flag,
  ttl: millisecondsWithin(1, LONGEST_REVOCATION_MS),
};
const DRAIN: Rules<DrainOptions> = { timeout: milliseconds };
const CONNECTIONS: Rules<ConnectionFilter> = { user: 'checked', topic: 'checked' };
const CLOSE_ALL: Rules<{ cluster?: boolean }> = { cluster: flag };

const DRAIN_ON_SIGNALS = {
  signals: simple('a list of signals', (value): value is unknown[] => Array.isArray(value) && value.every(isSignal)),
  server: simple(
    'a server, or a function that returns one',
    (value): value is object => isFunction(value) || hasClose(value),
  ),
  requestsTimeout: milliseconds,
  afterwards: simple('a function', isFunction),
  onError: simple('a function', isFunction),
};

const METHODS = {
  createConnection: CONNECTION,
  sendMessage: SEND,
  sendMessageToConnection: SEND,
  broadcast: { retry: 'checked' },
  broadcastToCluster: PUBLISH,
  publish: PUBLISH,
  publishToUser: PUBLISH,
  connections: CONNECTIONS,
  closeAllConnections: CLOSE_ALL,
  revoke: REVOKE,
  'tickets.issue': { ttl: millisecondsWithin(1, MAX_TICKET_MS) },
  drain: DRAIN,
  drainOnSignals: DRAIN_ON_SIGNALS,
} as const;

/**
 * Checks the options that a method of the service, or `drainOnSignals`, was given as strictly as settings: unknown names, wrong types, values out
 * of range.
 * @throws SseError `INVALID_OPTION`
 */
export function checkArguments(method: keyof typeof METHODS, options: object): void {
  checkOptions(method, options, METHODS[method], 'INVALID_OPTION');
}

/** The same for options by their rules. @param where whose options they are @throws SseError of that code */
export function checkOptions(
  where: string,
  options: object,
  rules: Readonly<Record<string, Kind<unknown> | 'checked'>>,
  code: OptionsErrorCode,
): void {
  if (typeof options !== 'object' || (options as object | null) === null) {
    throw new SseError(code, `the options of ${where} must be an object, got ${shownValue(options)}`);
  }
  // Nothing is allocated for a call without options, or with sound ones.
  for (const name in options) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) assertKnownKeys(where, options, Object.keys(rules), code);
    else if (rule !== 'checked') {
      const value = (options as Readonly<Record<string, unknown>>)[name];
      if (value !== undefined && rule.accepts?.(value) !== true) refuseValue(`${name} of ${where}`, rule, value, code);
    }
  }
}

/** Refuses a value unless the kind takes it all the same, which only its check can say. */
function refuseValue(name: string, kind: Kind<unknown>, value: unknown, code: OptionsErrorCode): void {
  const problems = new OptionProblems();
  kind.check(value, { path: name, name, secret: false }, problems);
  const [problem] = problems.lines;
  if (problem !== undefined) throw new SseError(code, problem);
}

function isSource(value: unknown): value is ConnectionOptions['source'] {
  return typeof value === 'object' && value !== null && 'start' in value && typeof value.start === 'function';
}

function isBacklog(value: unknown): value is Backlog {
  return value === 'latest' || (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_BACKLOG);
}

function isTime(value: unknown): value is Date {
  return value instanceof Date && !Number.isNaN(value.getTime());
}

function hasClose(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'close' in value && isFunction(value.close);
}

function isSignal(value: unknown): boolean {
  return typeof value === 'string' && value in constants.signals;
}
